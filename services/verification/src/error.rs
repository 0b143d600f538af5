use std::time::Duration;

use tonic::{Code, Status};
use wanwu_grpc::{Failure, Violation, status};
use wanwu_personal::{SealError, SubjectKeyError};
use wanwu_postgres::{is_transient, requests::ClaimError};
use wanwu_proto::{operations, verification::v1::ErrorReason};

use crate::providers::agency::AgencyError;

/// What a caller of verification can be told.
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
    /// There is none.
    #[error("not found")]
    NotFound,
    /// No unused consent of the caller to this query.
    #[error("an unused consent to this agency query is needed")]
    ConsentRequired,
    /// The account is verified.
    #[error("the account is verified")]
    AlreadyVerified,
    /// A check is under way.
    #[error("a verification of the account is pending")]
    Pending,
    /// The same request_id came with another body.
    #[error("the request_id was used with another body")]
    RequestIdReused,
    /// Privacy did not answer.
    #[error("privacy did not answer")]
    Privacy(#[source] Status),
    /// The agency did not answer in a way that can be believed.
    #[error("the agency gave no answer")]
    Agency(#[from] AgencyError),
    /// What is sealed cannot be opened.
    #[error("the sealed data cannot be opened")]
    Unreadable,
    /// What is sealed cannot be opened, or not sealed.
    #[error("cannot seal or open")]
    Seal(#[from] SealError),
    /// The account's data key is not usable.
    #[error("the data key is not usable")]
    Key(#[from] SubjectKeyError),
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
            Self::ConsentRequired | Self::AlreadyVerified | Self::Pending => {
                Code::FailedPrecondition
            }
            Self::RequestIdReused => Code::AlreadyExists,
            Self::Privacy(_) | Self::Agency(_) => Code::Unavailable,
            Self::Database(error) if is_transient(error) => Code::Unavailable,
            Self::Unreadable | Self::Seal(_) | Self::Key(_) | Self::Database(_) => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        use operations::v1::ErrorReason as Platform;
        match self {
            Self::Invalid { .. } => Platform::InvalidArgument.as_str_name(),
            Self::NotFound => Platform::NotFound.as_str_name(),
            Self::ConsentRequired => ErrorReason::ConsentRequired.as_str_name(),
            Self::AlreadyVerified => ErrorReason::AlreadyVerified.as_str_name(),
            Self::Pending => ErrorReason::VerificationPending.as_str_name(),
            Self::RequestIdReused => Platform::RequestIdReused.as_str_name(),
            _ if self.code() == Code::Unavailable => Platform::Unavailable.as_str_name(),
            _ => Platform::Internal.as_str_name(),
        }
    }

    fn domain(&self) -> &'static str {
        match self {
            Self::ConsentRequired | Self::AlreadyVerified | Self::Pending => "verification.wanwu",
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

    fn retry_after(&self) -> Option<Duration> {
        (self.code() == Code::Unavailable).then_some(Duration::from_secs(1))
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        status(&error)
    }
}
