use tonic::{Code, Status};
use wanwu_grpc::platform_status;

use crate::Reason;

/// What a caller is told who is refused for `reason`.
#[must_use]
pub fn refusal(reason: Reason) -> Status {
    let (code, message) = match reason {
        Reason::Unauthenticated => (Code::Unauthenticated, "a credential is needed"),
        Reason::InvalidCredential => (Code::Unauthenticated, "the credential is not valid"),
        Reason::NotAllowed => (
            Code::PermissionDenied,
            "the caller may not call this method",
        ),
        Reason::PrincipalForged => (
            Code::PermissionDenied,
            "only the edge speaks for somebody else",
        ),
        Reason::NetworkNotAllowed => (
            Code::PermissionDenied,
            "the service is for networks in mainland China",
        ),
        Reason::AgreementsNotAccepted => (
            Code::PermissionDenied,
            "the current agreements are not accepted",
        ),
        Reason::RealNameRequired => (Code::PermissionDenied, "the real name is not verified"),
        Reason::GuardianConsentRequired => {
            (Code::PermissionDenied, "a guardian has to consent first")
        }
        Reason::AgeRefused => (
            Code::PermissionDenied,
            "the service is not for children under 8",
        ),
        Reason::AccountSuspended => (Code::PermissionDenied, "the account is suspended"),
        Reason::AccountClosed => (Code::PermissionDenied, "the account is closed"),
        Reason::ConsentWithdrawn => (
            Code::PermissionDenied,
            "the consent to the processing is withdrawn",
        ),
        Reason::ScopeMissing => (
            Code::PermissionDenied,
            "the key lacks the scope of this method",
        ),
        Reason::StandingUnknown => (
            Code::Unavailable,
            "whether the account may act could not be established; try again",
        ),
        Reason::InvalidArgument => (Code::InvalidArgument, "a field of the request is not valid"),
        Reason::RequestIdReused => (
            Code::AlreadyExists,
            "the request_id was used with another body",
        ),
        Reason::Unavailable => (Code::Unavailable, "the service is not available; try again"),
        Reason::RateLimited => (
            Code::ResourceExhausted,
            "too many requests; try again later",
        ),
        Reason::NotFound => (Code::NotFound, "there is no such object"),
        Reason::TooLarge => (Code::ResourceExhausted, "the body is too large"),
        Reason::UnknownMethod => (Code::Unimplemented, "there is no such method"),
        Reason::DeadlineExceeded => (Code::DeadlineExceeded, "the deadline passed"),
        Reason::RequestTooSlow => (
            Code::DeadlineExceeded,
            "the body of the request came too slowly",
        ),
        // The other reasons are their services' own, or nobody's fault but ours.
        _ => (
            Code::Internal,
            "an internal error; the id of the request leads to it",
        ),
    };
    platform_status(code, reason, message)
}
