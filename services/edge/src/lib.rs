//! The edge: the only way in. It finds out who calls and whether it may, and passes bytes on.

pub mod address;
pub mod admission;
pub mod app;
pub mod beginning;
pub mod callback;
pub mod chat;
pub mod config;
pub mod contracts;
pub mod credential;
pub mod edge;
pub mod follow_file;
pub mod grants;
pub mod idle;
pub mod listener;
pub mod measured;
pub mod messages;
pub mod models;
pub mod networks;
pub mod openai_error;
pub mod pace;
pub mod pass_through;
pub mod refusal_json;
pub mod request_span;
pub mod series;
pub mod stalled;
pub mod streams;
pub mod transcode;
pub mod unread_body;
pub mod upstream;
pub mod visit;

pub use app::App;
pub use config::Config;

/// Every key of the configuration with its default.
pub const DEFAULTS: &str = include_str!("../config.default.toml");
