use wanwu_proto::identity::v1::{AgeBand, Standing};

use crate::{Gate, Reason};

/// Whether an account of this standing passes these gates; if not, the first reason in the order
/// in which a person would mend it.
pub fn gate(standing: &Standing, gates: &[i32]) -> Result<(), Reason> {
    let asks = |gate: Gate| gates.contains(&i32::from(gate));
    let refused_if = |refused: bool, reason| if refused { Err(reason) } else { Ok(()) };

    if asks(Gate::NotSuspended) {
        refused_if(standing.closed, Reason::AccountClosed)?;
        refused_if(standing.suspended, Reason::AccountSuspended)?;
    }
    if asks(Gate::Agreements) {
        refused_if(!standing.agreements_current, Reason::AgreementsNotAccepted)?;
    }
    if asks(Gate::Consent) {
        refused_if(!standing.core_consent, Reason::ConsentWithdrawn)?;
    }
    if asks(Gate::RealName) {
        refused_if(!standing.real_name_verified, Reason::RealNameRequired)?;
    }
    if asks(Gate::Guardian) {
        match standing.age_band() {
            AgeBand::Adult => {}
            AgeBand::Under8 => return Err(Reason::AgeRefused),
            AgeBand::AgeBand8To13 | AgeBand::AgeBand14To17 => {
                refused_if(!standing.guardian_consent, Reason::GuardianConsentRequired)?;
            }
            // An age that nobody verified is not an adult's.
            AgeBand::Unspecified => return Err(Reason::RealNameRequired),
        }
    }
    // A gate that this build does not know cannot be passed.
    let unknown = gates
        .iter()
        .any(|&gate| Gate::try_from(gate).map_or(true, |gate| gate == Gate::Unspecified));
    refused_if(unknown, Reason::NotAllowed)
}
