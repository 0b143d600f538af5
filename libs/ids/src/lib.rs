//! Typed identifiers: a UUIDv7 that knows what it names, so that an account's id cannot be
//! passed where an app's is expected. Text on the wire, `uuid` in SQL.

mod id;
mod ids;
mod kinds;

pub use id::{Id, InvalidId};
pub use ids::Ids;
pub use kinds::{
    AccountId, AppId, CallId, ConsentId, CredentialId, DeviceId, EpochId, EventId, KeyId, LeaseId,
    OperatorId, OrderId, PriceProposalId, RefundId, RequestId, SessionId, TransferId,
    VerificationId, VersionId,
};
