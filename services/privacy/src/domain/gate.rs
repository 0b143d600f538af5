use wanwu_ids::AccountId;

/// Privacy's part of an account's standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Whose.
    pub account_id: AccountId,
    /// Higher wins.
    pub version: u64,
    /// The current versions of every agreement are accepted.
    pub agreements_current: bool,
    /// The consent to the core processing stands.
    pub core_consent: bool,
    /// A guardian's consent stands.
    pub guardian_consent: bool,
}

/// Changes of one account that fit below the changes of the agreements.
const ACCOUNT_BITS: u32 = 40;

/// The version of a gate. A gate changes when its account does something and when an agreement
/// comes into force, so the number of versions in force counts above the account's own changes:
/// both only grow, and so does this.
#[must_use]
pub fn version(versions_in_force: u64, account_changes: u64) -> u64 {
    (versions_in_force << ACCOUNT_BITS) | account_changes
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_version_grows_with_either_kind_of_change() {
        assert!(version(2, 0) < version(2, 1));
        assert!(version(2, 1_000_000) < version(3, 0));
    }
}
