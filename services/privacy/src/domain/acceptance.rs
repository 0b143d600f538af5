use std::collections::BTreeSet;

use wanwu_ids::VersionId;

/// The named versions are not exactly the current ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCurrent {
    /// What would have been right.
    pub current: BTreeSet<VersionId>,
}

/// An acceptance counts only if it names every current version and nothing else: nobody accepts
/// what was not shown to them (obligation T0.2).
pub fn exactly_current(
    named: &[VersionId],
    current: BTreeSet<VersionId>,
) -> Result<BTreeSet<VersionId>, NotCurrent> {
    let distinct: BTreeSet<_> = named.iter().copied().collect();
    if distinct.len() == named.len() && distinct == current && !current.is_empty() {
        Ok(current)
    } else {
        Err(NotCurrent { current })
    }
}

#[cfg(test)]
mod tests {
    use wanwu_ids::Ids;

    use super::*;

    #[test]
    fn only_the_exact_set_of_current_versions_is_an_acceptance() {
        let ids = Ids::system();
        let (terms, policy, old): (VersionId, VersionId, VersionId) =
            (ids.id(), ids.id(), ids.id());
        let current = BTreeSet::from([terms, policy]);
        let cases: [(&[VersionId], bool); 7] = [
            (&[terms, policy], true),
            (&[policy, terms], true),
            (&[terms], false),
            (&[], false),
            (&[terms, policy, old], false),
            (&[terms, old], false),
            (&[terms, policy, policy], false),
        ];
        for (named, accepted) in cases {
            assert_eq!(
                exactly_current(named, current.clone()).is_ok(),
                accepted,
                "{named:?}"
            );
        }
        assert!(
            exactly_current(&[], BTreeSet::new()).is_err(),
            "nothing published, nothing accepted"
        );
    }
}
