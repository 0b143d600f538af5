use std::{error::Error, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use wanwu_proto::operations::v1::ErrorReason;

/// The domain of the platform's own reasons.
pub const DOMAIN: &str = "wanwu";

/// What every enum prefixes its reasons with; it is dropped on the wire.
const PREFIX: &str = "ERROR_REASON_";

/// A field of a request that is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field, as in the proto, with dots into messages.
    pub field: String,
    /// What is wrong with it, for people. It never repeats what was sent.
    pub description: String,
}

/// An error that a caller is told. One exhaustive implementation a service says, for each
/// variant, how it looks outside; [`status`] does the rest.
pub trait Failure: Error + 'static {
    /// The gRPC code. `Internal` and `Unknown` hide the text and log the chain of causes.
    fn code(&self) -> Code;

    /// The name of the reason: `ErrorReason::OrderPaid.as_str_name()`.
    fn reason(&self) -> &'static str;

    /// Where the reason is defined: `billing.wanwu`; [`DOMAIN`] for the platform's own.
    fn domain(&self) -> &'static str;

    /// The fields that are not valid; for `InvalidArgument`.
    fn violations(&self) -> Vec<Violation> {
        Vec::new()
    }

    /// Facts for programs, keys in lowerCamel; never personal data.
    fn metadata(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// When trying again makes sense.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// The status that a caller is told, with `ErrorInfo` and, where there is any, `BadRequest` and
/// `RetryInfo`. What is hidden from the caller is logged here, once, with its whole chain.
#[must_use]
pub fn status(failure: &impl Failure) -> Status {
    let code = failure.code();
    let message = if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss) {
        tracing::error!(
            reason = failure.reason(),
            error = chain(failure),
            "a call failed"
        );
        "an internal error; the id of the request leads to it".to_owned()
    } else {
        if code == Code::Unavailable && failure.source().is_some() {
            tracing::warn!(
                reason = failure.reason(),
                error = chain(failure),
                "a call failed"
            );
        }
        failure.to_string()
    };
    let metadata = failure
        .metadata()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    let mut details = ErrorDetails::with_error_info(
        bare(failure.reason()),
        failure.domain(),
        metadata.collect::<std::collections::HashMap<_, _>>(),
    );
    for violation in failure.violations() {
        details.add_bad_request_violation(violation.field, violation.description);
    }
    if let Some(after) = failure.retry_after() {
        details.set_retry_info(Some(after));
    }
    Status::with_error_details(code, message, details)
}

/// A status of the platform's own layers.
#[must_use]
pub fn platform_status(code: Code, reason: ErrorReason, message: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(
        bare(reason.as_str_name()),
        DOMAIN,
        std::collections::HashMap::<String, String>::new(),
    );
    if code == Code::Unavailable || code == Code::ResourceExhausted {
        details.set_retry_info(Some(Duration::from_secs(1)));
    }
    Status::with_error_details(code, message, details)
}

fn bare(reason: &'static str) -> &'static str {
    reason.strip_prefix(PREFIX).unwrap_or(reason)
}

/// An error and everything that caused it, outermost first.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Refusal {
        #[error("the amount is not valid")]
        Amount,
        #[error("the ledger does not balance")]
        Ledger(#[source] std::io::Error),
    }

    impl Failure for Refusal {
        fn code(&self) -> Code {
            match self {
                Self::Amount => Code::InvalidArgument,
                Self::Ledger(_) => Code::Internal,
            }
        }

        fn reason(&self) -> &'static str {
            match self {
                Self::Amount => ErrorReason::InvalidArgument.as_str_name(),
                Self::Ledger(_) => ErrorReason::Internal.as_str_name(),
            }
        }

        fn domain(&self) -> &'static str {
            "billing.wanwu"
        }

        fn violations(&self) -> Vec<Violation> {
            let description = "must be above 0".to_owned();
            vec![Violation {
                field: "amount".to_owned(),
                description,
            }]
        }

        fn retry_after(&self) -> Option<Duration> {
            Some(Duration::from_secs(3))
        }
    }

    #[test]
    fn a_refusal_says_its_reason_its_fields_and_when_to_try_again() {
        let status = status(&Refusal::Amount);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "the amount is not valid");
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("INVALID_ARGUMENT", "billing.wanwu")
        );
        assert_eq!(
            details.bad_request().unwrap().field_violations[0].field,
            "amount"
        );
        let retry = details.retry_info().unwrap().retry_delay;
        assert_eq!(retry, Some(Duration::from_secs(3)));
    }

    #[test]
    fn what_is_internal_is_not_told() {
        let cause = std::io::Error::other("13800138000 typed this");
        let status = status(&Refusal::Ledger(cause));
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("ledger"));
        assert!(!status.message().contains("13800138000"));
    }

    #[test]
    fn the_chain_is_whole() {
        let cause = std::io::Error::other("disk full");
        assert_eq!(
            chain(&Refusal::Ledger(cause)),
            "the ledger does not balance: disk full"
        );
    }
}
