use std::time::Duration;

use tonic::{Code, Status};
use wanwu_grpc::{Failure, Violation, status};
use wanwu_personal::{SealError, SubjectKeyError};
use wanwu_postgres::{is_transient, requests::ClaimError};
use wanwu_proto::{identity::v1::ErrorReason, operations};

use crate::providers::alibaba_sms::SmsError;

/// What a caller of identity can be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request; never its value.
    #[error("{field} {what}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is no such thing, or it is not the caller's.
    #[error("not found")]
    NotFound,
    /// The code is wrong, expired, used, or was compared five times.
    #[error("the code is not valid")]
    CodeInvalid,
    /// The number has an account.
    #[error("the number has an account: sign in")]
    AlreadyRegistered,
    /// The number has no account.
    #[error("the number has no account: register")]
    NotRegistered,
    /// Too many messages.
    #[error("too many codes were asked for")]
    RateLimited {
        /// When to try again.
        after: Duration,
    },
    /// Name, password, code or token is wrong.
    #[error("the credential is not valid")]
    InvalidCredential,
    /// As many as there may be.
    #[error("there are as many of these as there may be")]
    TooMany,
    /// The same request_id came with another body.
    #[error("the request_id was used with another body")]
    RequestIdReused,
    /// Privacy or verification does not answer: nobody can say whether the account may act.
    #[error("whether the account may act is not known now")]
    StandingUnknown,
    /// The agreements that were named are not exactly the current ones.
    #[error("the request does not name exactly the current versions of the agreements")]
    AgreementsNotAccepted {
        /// The versions that would have been right, as privacy lists them.
        current: String,
    },
    /// Privacy cannot record the acceptance now.
    #[error("the acceptance could not be recorded; try again")]
    Privacy(#[source] Status),
    /// The message was not sent.
    #[error("the message could not be sent; try again")]
    Sms(#[from] SmsError),
    /// What is sealed cannot be opened, or not sealed.
    #[error("cannot seal or open")]
    Seal(#[from] SealError),
    /// The data key is not usable.
    #[error("the data key is not usable")]
    Key(#[from] SubjectKeyError),
    /// A secret cannot be hashed or used.
    #[error("a secret cannot be used: {0}")]
    Secret(&'static str),
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl Error {
    /// A field that is not valid.
    #[must_use]
    pub const fn invalid(field: &'static str, what: &'static str) -> Self {
        Self::Invalid { field, what }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<ClaimError> for Error {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Reused => Self::RequestIdReused,
            ClaimError::Database(error) => Self::Database(error),
        }
    }
}

impl Failure for Error {
    fn code(&self) -> Code {
        match self {
            Self::Invalid { .. } => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::CodeInvalid
            | Self::AlreadyRegistered
            | Self::NotRegistered
            | Self::AgreementsNotAccepted { .. } => Code::FailedPrecondition,
            Self::RateLimited { .. } | Self::TooMany => Code::ResourceExhausted,
            Self::InvalidCredential => Code::Unauthenticated,
            Self::RequestIdReused => Code::AlreadyExists,
            Self::StandingUnknown | Self::Sms(_) | Self::Privacy(_) => Code::Unavailable,
            Self::Database(error) if is_transient(error) => Code::Unavailable,
            Self::Seal(_) | Self::Key(_) | Self::Secret(_) | Self::Database(_) => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        use operations::v1::ErrorReason as Platform;
        match self {
            Self::Invalid { .. } => Platform::InvalidArgument.as_str_name(),
            Self::NotFound => Platform::NotFound.as_str_name(),
            Self::CodeInvalid => ErrorReason::CodeInvalid.as_str_name(),
            Self::AlreadyRegistered => ErrorReason::AlreadyRegistered.as_str_name(),
            Self::NotRegistered => ErrorReason::NotRegistered.as_str_name(),
            Self::TooMany => ErrorReason::TooMany.as_str_name(),
            Self::AgreementsNotAccepted { .. } => ErrorReason::AgreementsNotAccepted.as_str_name(),
            Self::RateLimited { .. } => Platform::RateLimited.as_str_name(),
            Self::InvalidCredential => Platform::InvalidCredential.as_str_name(),
            Self::RequestIdReused => Platform::RequestIdReused.as_str_name(),
            Self::StandingUnknown => Platform::StandingUnknown.as_str_name(),
            _ if self.code() == Code::Unavailable => Platform::Unavailable.as_str_name(),
            _ => Platform::Internal.as_str_name(),
        }
    }

    fn domain(&self) -> &'static str {
        match self {
            Self::CodeInvalid
            | Self::AlreadyRegistered
            | Self::NotRegistered
            | Self::TooMany
            | Self::AgreementsNotAccepted { .. } => "identity.wanwu",
            _ => wanwu_grpc::DOMAIN,
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid { field, what } => {
                vec![Violation {
                    field: (*field).to_owned(),
                    description: (*what).to_owned(),
                }]
            }
            _ => Vec::new(),
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::AgreementsNotAccepted { current } => vec![("current", current.clone())],
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { after } => Some(*after),
            _ => (self.code() == Code::Unavailable).then_some(Duration::from_secs(1)),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        status(&error)
    }
}
