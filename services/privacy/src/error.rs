use std::{collections::BTreeSet, time::Duration};

use tonic::{Code, Status};
use wanwu_grpc::{Failure, Violation, status};
use wanwu_ids::VersionId;
use wanwu_postgres::{is_transient, requests::ClaimError};
use wanwu_proto::{operations, privacy::v1::ErrorReason};

/// What a caller of privacy can be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request.
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
    /// The versions are not exactly the current ones.
    #[error("the request does not name exactly the current versions")]
    AgreementsNotAccepted {
        /// What would have been right.
        current: BTreeSet<VersionId>,
    },
    /// The consent was used for another act.
    #[error("the consent was used for another act")]
    ConsentUsed,
    /// The two cannot be guardian and ward.
    #[error("the caller must be a verified adult and the ward a verified minor of 8 years or more")]
    GuardianNotEligible,
    /// The same request_id came with another body.
    #[error("the request_id was used with another body")]
    RequestIdReused,
    /// Identity refused what it was asked: its own words, passed on.
    #[error("identity refused")]
    Identity(#[source] Status),
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
            Self::AgreementsNotAccepted { .. } | Self::ConsentUsed | Self::GuardianNotEligible => {
                Code::FailedPrecondition
            }
            Self::RequestIdReused => Code::AlreadyExists,
            Self::Identity(status) => status.code(),
            Self::Database(error) if is_transient(error) => Code::Unavailable,
            Self::Database(_) => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        use operations::v1::ErrorReason as Platform;
        match self {
            Self::Invalid { .. } => Platform::InvalidArgument.as_str_name(),
            Self::NotFound => Platform::NotFound.as_str_name(),
            Self::AgreementsNotAccepted { .. } => ErrorReason::AgreementsNotAccepted.as_str_name(),
            Self::ConsentUsed => ErrorReason::ConsentUsed.as_str_name(),
            Self::GuardianNotEligible => ErrorReason::GuardianNotEligible.as_str_name(),
            Self::RequestIdReused => Platform::RequestIdReused.as_str_name(),
            Self::Identity(_) => Platform::Unavailable.as_str_name(),
            Self::Database(error) if is_transient(error) => Platform::Unavailable.as_str_name(),
            Self::Database(_) => Platform::Internal.as_str_name(),
        }
    }

    fn domain(&self) -> &'static str {
        match self {
            Self::AgreementsNotAccepted { .. } | Self::ConsentUsed | Self::GuardianNotEligible => {
                "privacy.wanwu"
            }
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
            Self::AgreementsNotAccepted { current } => {
                let ids: Vec<_> = current.iter().map(ToString::to_string).collect();
                vec![("current", ids.join(","))]
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
        match error {
            // Identity's answer has its own reason and details.
            Error::Identity(status) => status,
            error => status(&error),
        }
    }
}
