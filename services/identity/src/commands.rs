//! What identity does: one use case a file.

mod account_code;
mod api_keys;
mod apps;
mod check_code;
mod open_session;
mod operator_actions;
mod operator_sessions;
mod refresh_session;
mod register;
mod send_code;
mod send_notification;
mod sign_in;
mod standing;

pub use api_keys::{CreateApiKey, CreatedApiKey};
pub use apps::CreateApp;
pub use open_session::Tokens;
pub use operator_actions::SetSuspension;
pub use operator_sessions::{CreatedOperator, OperatorSession, SignInOperator};
pub use register::Register;
