//! What identity does: one use case a file.

mod account_code;
mod api_keys;
mod apps;
mod check_code;
mod create_operator;
mod notifications;
mod open_session;
mod operator_actions;
mod operator_sessions;
mod refresh_session;
mod register;
mod send_code;
mod sign_in;
mod standing;

pub use api_keys::{CreateApiKey, CreatedApiKey};
pub use apps::CreateApp;
pub use create_operator::CreatedOperator;
pub use open_session::Tokens;
pub use operator_actions::SetSuspension;
pub use operator_sessions::{OperatorSession, SignInOperator};
pub use register::Register;
