use std::time::Duration;

use tonic::{Code, Status};
use wanwu_grpc::{Failure, Violation, status};
use wanwu_postgres::is_transient;
use wanwu_proto::{device::v1::ErrorReason, operations};

/// What a caller of device-registry can be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request; never its value.
    #[error("{field} {what}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// There is no such thing, or it is not the caller's.
    #[error("not found")]
    NotFound,
    /// The app has as many devices as it may have.
    #[error("the app has as many devices as it may have")]
    TooManyDevices,
    /// Identity did not answer.
    #[error("identity did not answer")]
    Identity(#[source] Status),
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl Error {
    /// A field that is not valid.
    pub fn invalid(field: &'static str, what: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            what: what.into(),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Failure for Error {
    fn code(&self) -> Code {
        match self {
            Self::Invalid { .. } => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::TooManyDevices => Code::ResourceExhausted,
            Self::Identity(_) => Code::Unavailable,
            Self::Database(error) if is_transient(error) => Code::Unavailable,
            Self::Database(_) => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        use operations::v1::ErrorReason as Platform;
        match self {
            Self::Invalid { .. } => Platform::InvalidArgument.as_str_name(),
            Self::NotFound => Platform::NotFound.as_str_name(),
            Self::TooManyDevices => ErrorReason::TooManyDevices.as_str_name(),
            _ if self.code() == Code::Unavailable => Platform::Unavailable.as_str_name(),
            _ => Platform::Internal.as_str_name(),
        }
    }

    fn domain(&self) -> &'static str {
        match self {
            Self::TooManyDevices => "device.wanwu",
            _ => wanwu_grpc::DOMAIN,
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid { field, what } => {
                vec![Violation {
                    field: (*field).to_owned(),
                    description: what.clone(),
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
