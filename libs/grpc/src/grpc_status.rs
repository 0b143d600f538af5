use http::{HeaderMap, HeaderValue};
use tonic::Code;

pub(crate) const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";

/// The code in the headers or trailers of an answer, if it is there.
#[must_use]
pub fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers
        .get(GRPC_STATUS)
        .map(|code| Code::from_bytes(code.as_bytes()))
}

/// tonic's own servers say `CANCELLED: Timeout expired` where they mean `DEADLINE_EXCEEDED`.
pub(crate) fn mend_timeout(headers: &mut HeaderMap) {
    let expired = code_of(headers) == Some(Code::Cancelled)
        && headers.get(GRPC_MESSAGE).is_some_and(|message| {
            matches!(
                message.as_bytes(),
                b"Timeout expired" | b"Timeout%20expired"
            )
        });
    if expired {
        headers.insert(GRPC_STATUS, HeaderValue::from_static("4"));
    }
}

/// The name of a code as labels and spans show it.
pub(crate) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
