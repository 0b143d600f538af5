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

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Gate; 5] = [
        Gate::Agreements,
        Gate::RealName,
        Gate::Guardian,
        Gate::NotSuspended,
        Gate::Consent,
    ];

    fn adult() -> Standing {
        Standing {
            agreements_current: true,
            core_consent: true,
            real_name_verified: true,
            age_band: AgeBand::Adult.into(),
            ..Standing::default()
        }
    }

    fn aged(age_band: AgeBand, guardian_consent: bool) -> Standing {
        Standing {
            age_band: age_band.into(),
            guardian_consent,
            ..adult()
        }
    }

    fn asked(standing: &Standing, gates: &[Gate]) -> Result<(), Reason> {
        let gates: Vec<i32> = gates.iter().map(|&gate| gate.into()).collect();
        gate(standing, &gates)
    }

    #[test]
    fn each_gate_has_its_reason() {
        use Reason as R;
        let cases = [
            (adult(), Ok(())),
            (
                Standing {
                    closed: true,
                    ..adult()
                },
                Err(R::AccountClosed),
            ),
            (
                Standing {
                    suspended: true,
                    ..adult()
                },
                Err(R::AccountSuspended),
            ),
            (
                Standing {
                    agreements_current: false,
                    ..adult()
                },
                Err(R::AgreementsNotAccepted),
            ),
            (
                Standing {
                    core_consent: false,
                    ..adult()
                },
                Err(R::ConsentWithdrawn),
            ),
            (
                Standing {
                    real_name_verified: false,
                    ..adult()
                },
                Err(R::RealNameRequired),
            ),
            (aged(AgeBand::Unspecified, true), Err(R::RealNameRequired)),
            (aged(AgeBand::Under8, false), Err(R::AgeRefused)),
            (aged(AgeBand::Under8, true), Err(R::AgeRefused)),
            (
                aged(AgeBand::AgeBand8To13, false),
                Err(R::GuardianConsentRequired),
            ),
            (aged(AgeBand::AgeBand8To13, true), Ok(())),
            (
                aged(AgeBand::AgeBand14To17, false),
                Err(R::GuardianConsentRequired),
            ),
            (aged(AgeBand::AgeBand14To17, true), Ok(())),
        ];
        for (standing, expected) in cases {
            assert_eq!(asked(&standing, &ALL), expected, "{standing:?}");
        }
    }

    #[test]
    fn the_first_reason_is_what_a_person_mends_first() {
        use Reason as R;
        let mut standing = Standing {
            closed: true,
            suspended: true,
            ..Standing::default()
        };
        standing.age_band = AgeBand::Under8.into();
        type Mend = fn(&mut Standing);
        let mends: [(R, Mend); 7] = [
            (R::AccountClosed, |s| s.closed = false),
            (R::AccountSuspended, |s| s.suspended = false),
            (R::AgreementsNotAccepted, |s| s.agreements_current = true),
            (R::ConsentWithdrawn, |s| s.core_consent = true),
            (R::RealNameRequired, |s| s.real_name_verified = true),
            (R::AgeRefused, |s| {
                s.age_band = AgeBand::AgeBand14To17.into()
            }),
            (R::GuardianConsentRequired, |s| s.guardian_consent = true),
        ];
        for (reason, mend) in mends {
            assert_eq!(asked(&standing, &ALL), Err(reason));
            mend(&mut standing);
        }
        assert_eq!(asked(&standing, &ALL), Ok(()));
    }

    #[test]
    fn only_the_gates_that_are_asked_refuse() {
        let worst = Standing {
            closed: true,
            suspended: true,
            ..Standing::default()
        };
        assert_eq!(asked(&worst, &[]), Ok(()));
        let cases = [
            (Gate::NotSuspended, Reason::AccountClosed),
            (Gate::Agreements, Reason::AgreementsNotAccepted),
            (Gate::Consent, Reason::ConsentWithdrawn),
            (Gate::RealName, Reason::RealNameRequired),
            (Gate::Guardian, Reason::RealNameRequired),
        ];
        for (gate, reason) in cases {
            assert_eq!(asked(&worst, &[gate]), Err(reason));
        }
    }

    #[test]
    fn a_gate_that_this_build_does_not_know_cannot_be_passed() {
        assert_eq!(gate(&adult(), &[99]), Err(Reason::NotAllowed));
        assert_eq!(gate(&adult(), &[0]), Err(Reason::NotAllowed));
    }
}
