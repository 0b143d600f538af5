//! What callers are told.

use std::time::Duration;

use tonic::Code;
use wanwu_grpc::{DOMAIN, Failure, Violation};
use wanwu_proto::{inference::v1::ErrorReason, operations::v1::ErrorReason as PlatformReason};

use crate::{
    admission,
    credit::CreditError,
    domain::{allowance::Reached, request_body::BodyError, shape::Shape},
    engine::EngineError,
    journal::NotDispatched,
    limiter::LimitError,
};

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue has no such model.
    #[error("there is no model with this name")]
    ModelNotFound,
    /// The model's time is over.
    #[error("the model {model} is not served any more")]
    ModelRetired {
        /// Its name.
        model: String,
    },
    /// The model's engines do not know this kind of request.
    #[error("the model {model} does not answer {}: it answers {}", .shape.name(), names(.served))]
    ShapeNotServed {
        /// Its name.
        model: String,
        /// What was asked for.
        shape: Shape,
        /// What they know.
        served: Vec<Shape>,
    },
    /// Somebody else changed the route.
    #[error("the route was changed meanwhile")]
    RouteChanged,
    /// The account's credit does not cover the call.
    #[error("the account's balance does not cover the highest cost of this call")]
    InsufficientBalance,
    /// A budget does not cover the call.
    #[error("the budget of the {subject} does not cover the highest cost of this call")]
    BudgetExhausted {
        /// Whose: `app` or `key`.
        subject: String,
    },
    /// The input has a term of the screen in it.
    #[error("the content screen refused the input")]
    ContentRefused {
        /// The class code.
        class: String,
    },
    /// The app demands a licensed device.
    #[error("the app demands a licensed device")]
    DeviceLicenceRequired,
    /// The body is not acceptable.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Too many calls run and wait.
    #[error("too many calls run and wait")]
    Busy {
        /// When to come again.
        retry_after: Duration,
    },
    /// A limit of the account, the app or the key is reached.
    #[error("the {} limit of the {} is reached", .0.bound.quantity.as_str(), .0.bound.subject.level.as_str())]
    LimitReached(Reached),
    /// An engine refuses the request.
    #[error("{message}")]
    EngineRefused {
        /// Its HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// No engine answers.
    #[error("no engine of the model answers")]
    EngineUnavailable(#[source] EngineError),
    /// The call could not be journalled.
    #[error("the call could not be journalled")]
    JournalUnavailable,
    /// The idempotency key was used.
    #[error("a call with this idempotency key was made in the last 24 hours")]
    DuplicateCall,
    /// Another service does not answer.
    #[error("a service that is needed does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A field is not valid.
    #[error("{field}: {problem}")]
    InvalidArgument {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no such object, or it is another's.
    #[error("there is no such call")]
    NotFound,
    /// Our own failure.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Failure for Error {
    fn code(&self) -> Code {
        match self {
            Self::ModelNotFound
            | Self::ModelRetired { .. }
            | Self::ShapeNotServed { .. }
            | Self::NotFound => Code::NotFound,
            Self::RouteChanged => Code::Aborted,
            Self::InsufficientBalance
            | Self::BudgetExhausted { .. }
            | Self::Busy { .. }
            | Self::LimitReached(_) => Code::ResourceExhausted,
            Self::ContentRefused { .. } | Self::Body(_) | Self::InvalidArgument { .. } => {
                Code::InvalidArgument
            }
            Self::EngineRefused { status: 404, .. } => Code::NotFound,
            Self::EngineRefused { .. } => Code::InvalidArgument,
            Self::DeviceLicenceRequired => Code::PermissionDenied,
            Self::DuplicateCall => Code::AlreadyExists,
            Self::EngineUnavailable(_) | Self::JournalUnavailable | Self::Unavailable(_) => {
                Code::Unavailable
            }
            Self::Database(error) if wanwu_postgres::is_transient(error) => Code::Unavailable,
            Self::Database(_) => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::ModelNotFound => ErrorReason::ModelNotFound.as_str_name(),
            Self::ModelRetired { .. } => ErrorReason::ModelRetired.as_str_name(),
            Self::ShapeNotServed { .. } => ErrorReason::ShapeNotServed.as_str_name(),
            Self::RouteChanged => ErrorReason::RouteChanged.as_str_name(),
            Self::InsufficientBalance => ErrorReason::InsufficientBalance.as_str_name(),
            Self::BudgetExhausted { .. } => ErrorReason::BudgetExhausted.as_str_name(),
            Self::ContentRefused { .. } => ErrorReason::ContentRefused.as_str_name(),
            Self::DeviceLicenceRequired => ErrorReason::DeviceLicenceRequired.as_str_name(),
            Self::Body(BodyError::UnboundedCost { .. } | BodyError::RemoteImage { .. }) => {
                ErrorReason::UnboundedCost.as_str_name()
            }
            Self::Body(BodyError::StateNotKept { .. }) => ErrorReason::StateNotKept.as_str_name(),
            Self::Body(BodyError::Invalid { .. }) => ErrorReason::InvalidBody.as_str_name(),
            Self::Body(BodyError::TooLarge) => PlatformReason::TooLarge.as_str_name(),
            Self::Busy { .. } => ErrorReason::Busy.as_str_name(),
            Self::LimitReached(_) => ErrorReason::LimitReached.as_str_name(),
            Self::EngineRefused { .. } => ErrorReason::EngineRefused.as_str_name(),
            Self::EngineUnavailable(_) => ErrorReason::EngineUnavailable.as_str_name(),
            Self::JournalUnavailable => ErrorReason::JournalUnavailable.as_str_name(),
            Self::DuplicateCall => ErrorReason::DuplicateCall.as_str_name(),
            Self::Unavailable(_) => PlatformReason::Unavailable.as_str_name(),
            Self::InvalidArgument { .. } => PlatformReason::InvalidArgument.as_str_name(),
            Self::NotFound => PlatformReason::NotFound.as_str_name(),
            Self::Database(_) if self.code() == Code::Unavailable => {
                PlatformReason::Unavailable.as_str_name()
            }
            Self::Database(_) => PlatformReason::Internal.as_str_name(),
        }
    }

    fn domain(&self) -> &'static str {
        match self {
            Self::Body(BodyError::TooLarge)
            | Self::Unavailable(_)
            | Self::InvalidArgument { .. }
            | Self::NotFound
            | Self::Database(_) => DOMAIN,
            _ => "inference.wanwu",
        }
    }

    fn violations(&self) -> Vec<Violation> {
        let violation = |field: String, description: String| vec![Violation { field, description }];
        match self {
            Self::Body(BodyError::Invalid { field, problem }) => {
                violation(format!("body.{field}"), problem.clone())
            }
            Self::Body(
                error @ (BodyError::UnboundedCost { field }
                | BodyError::RemoteImage { field }
                | BodyError::StateNotKept { field }),
            ) => violation(format!("body.{field}"), error.to_string()),
            Self::InvalidArgument { field, problem } => {
                violation((*field).to_owned(), problem.clone())
            }
            _ => Vec::new(),
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::ContentRefused { class } => vec![("class", class.clone())],
            Self::EngineRefused { status, .. } => vec![("engineStatus", status.to_string())],
            Self::ModelRetired { model } => vec![("model", model.clone())],
            Self::BudgetExhausted { subject } => vec![("subject", subject.clone())],
            Self::ShapeNotServed {
                model,
                shape,
                served,
            } => vec![
                ("model", model.clone()),
                ("shape", shape.name().to_owned()),
                ("served", names(served)),
            ],
            Self::LimitReached(Reached { bound, .. }) => vec![
                ("subject", bound.subject.level.as_str().to_owned()),
                ("limit", bound.quantity.as_str().to_owned()),
                ("value", bound.limit.to_string()),
            ],
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after } => Some(*retry_after),
            Self::LimitReached(reached) => Some(reached.retry_after),
            _ if self.code() == Code::Unavailable => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

/// Shapes for a reader.
fn names(shapes: &[Shape]) -> String {
    let names: Vec<_> = shapes.iter().map(|shape| shape.name()).collect();
    names.join(", ")
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused { status, message } => Self::EngineRefused { status, message },
            EngineError::Busy { retry_after, .. } => Self::Busy { retry_after },
            other => Self::EngineUnavailable(other),
        }
    }
}

impl From<admission::Busy> for Error {
    fn from(admission::Busy { retry_after }: admission::Busy) -> Self {
        Self::Busy { retry_after }
    }
}

impl From<LimitError> for Error {
    fn from(error: LimitError) -> Self {
        match error {
            LimitError::Reached(reached) => Self::LimitReached(reached),
            unknown @ LimitError::Unknown(_) => Self::Unavailable(Box::new(unknown)),
        }
    }
}

impl From<NotDispatched> for Error {
    fn from(error: NotDispatched) -> Self {
        match error {
            NotDispatched::Unavailable => Self::JournalUnavailable,
            NotDispatched::Duplicate => Self::DuplicateCall,
        }
    }
}

impl From<CreditError> for Error {
    fn from(error: CreditError) -> Self {
        match error {
            CreditError::Insufficient => Self::InsufficientBalance,
            CreditError::Budget(subject) => Self::BudgetExhausted { subject },
            // What has no price is not for sale.
            CreditError::Unpriced => Self::ModelNotFound,
            CreditError::Unavailable(error) => Self::Unavailable(Box::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;

    #[test]
    fn every_refusal_has_its_reason() {
        let invalid = BodyError::Invalid {
            field: "n".to_owned(),
            problem: "no".to_owned(),
        };
        let cases: [(Error, Code, &str, &str); 8] = [
            (
                Error::ModelNotFound,
                Code::NotFound,
                "MODEL_NOT_FOUND",
                "inference.wanwu",
            ),
            (
                Error::InsufficientBalance,
                Code::ResourceExhausted,
                "INSUFFICIENT_BALANCE",
                "inference.wanwu",
            ),
            (
                invalid.into(),
                Code::InvalidArgument,
                "INVALID_BODY",
                "inference.wanwu",
            ),
            (
                BodyError::TooLarge.into(),
                Code::InvalidArgument,
                "TOO_LARGE",
                "wanwu",
            ),
            (
                NotDispatched::Duplicate.into(),
                Code::AlreadyExists,
                "DUPLICATE_CALL",
                "inference.wanwu",
            ),
            (
                EngineError::NoneWell.into(),
                Code::Unavailable,
                "ENGINE_UNAVAILABLE",
                "inference.wanwu",
            ),
            (Error::NotFound, Code::NotFound, "NOT_FOUND", "wanwu"),
            (
                sqlx::Error::RowNotFound.into(),
                Code::Internal,
                "INTERNAL",
                "wanwu",
            ),
        ];
        for (error, code, reason, domain) in cases {
            let status = wanwu_grpc::status(&error);
            let info = status.get_details_error_info().unwrap();
            assert_eq!(
                (status.code(), &*info.reason, &*info.domain),
                (code, reason, domain)
            );
        }
    }
}
