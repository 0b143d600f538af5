use wanwu_ids::AccountId;
use wanwu_proto::identity::v1::{AgeBand, Standing};

/// The two cannot be guardian and ward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEligible;

/// A guardian is a verified adult, another person's account, and the ward a verified minor of at
/// least 8 years (PIPL 31; obligation T0.3). Below 8 nobody can consent into use.
pub fn eligible(
    guardian_id: AccountId,
    guardian: &Standing,
    ward_id: AccountId,
    ward: &Standing,
) -> Result<(), NotEligible> {
    let adult = guardian.real_name_verified && guardian.age_band() == AgeBand::Adult;
    let minor = ward.real_name_verified
        && matches!(
            ward.age_band(),
            AgeBand::AgeBand8To13 | AgeBand::AgeBand14To17
        );
    if guardian_id != ward_id && adult && minor {
        Ok(())
    } else {
        Err(NotEligible)
    }
}

#[cfg(test)]
mod tests {
    use wanwu_ids::Ids;

    use super::*;

    fn person(verified: bool, band: AgeBand) -> Standing {
        Standing {
            real_name_verified: verified,
            age_band: band.into(),
            ..Standing::default()
        }
    }

    #[test]
    fn only_a_verified_adult_consents_and_only_for_a_verified_minor() {
        let ids = Ids::system();
        let (a, b): (AccountId, AccountId) = (ids.id(), ids.id());
        let adult = person(true, AgeBand::Adult);
        for (guardian, ward, may) in [
            (adult.clone(), person(true, AgeBand::AgeBand14To17), true),
            (adult.clone(), person(true, AgeBand::AgeBand8To13), true),
            (adult.clone(), person(true, AgeBand::Under8), false),
            (adult.clone(), person(true, AgeBand::Adult), false),
            (adult.clone(), person(false, AgeBand::AgeBand14To17), false),
            (
                person(false, AgeBand::Adult),
                person(true, AgeBand::AgeBand14To17),
                false,
            ),
            (
                person(true, AgeBand::AgeBand14To17),
                person(true, AgeBand::AgeBand8To13),
                false,
            ),
        ] {
            assert_eq!(eligible(a, &guardian, b, &ward).is_ok(), may);
        }
        assert_eq!(
            eligible(a, &adult, a, &person(true, AgeBand::AgeBand14To17)),
            Err(NotEligible)
        );
    }
}
