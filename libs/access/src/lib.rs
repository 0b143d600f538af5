//! Who may call what, from the rules in the contracts.
//!
//! [`Rules`] holds the rule of every method; [`Rules::admit`] is the one pure decision about the
//! kind of a caller, [`gate`] the one about an account's standing. [`AccessLayer`] asks both in a
//! service; the edge calls the same two.

mod caller;
mod gates;
mod layer;
mod principal;
mod refusal;
mod rules;
mod standing;

pub use caller::{Caller, Subject, caller};
pub use gates::gate;
pub use layer::{Access, AccessLayer};
pub use principal::{PRINCIPAL_HEADER, PrincipalError, principal_header, read_principal};
pub use refusal::refusal;
pub use rules::{OPEN_SERVICES, Rules, RulesError, is_open};
pub use standing::{StandingAnswer, StandingSource, StandingUnknown, standing};
pub use wanwu_proto::access::v1::{Gate, OperatorRole, Principal, Rule};
/// Why a call is refused.
pub use wanwu_proto::operations::v1::ErrorReason as Reason;
