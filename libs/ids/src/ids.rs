use std::sync::Arc;

use uuid::Builder;
use wanwu_clock::{SharedClock, SharedEntropy, SystemClock, SystemEntropy};

use crate::Id;

/// Makes ids from a clock and chance.
#[derive(Clone)]
pub struct Ids {
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl Ids {
    /// Makes ids from these.
    #[must_use]
    pub fn new(clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self { clock, entropy }
    }

    /// Makes ids from the machine's clock and chance.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy::default()))
    }

    /// A new UUIDv7 (RFC 9562).
    #[must_use]
    pub fn id<K>(&self) -> Id<K> {
        let mut chance = [0; 10];
        self.entropy.fill(&mut chance);
        let millis = u64::try_from(self.clock.now().timestamp_millis()).unwrap_or_default();
        Id::from_uuid(Builder::from_unix_timestamp_millis(millis, &chance).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use wanwu_clock::{SeededEntropy, TestClock};

    use super::*;
    use crate::AccountId;

    #[test]
    fn the_same_time_and_chance_give_the_same_id() {
        let ids = || {
            let clock = TestClock::new(DateTime::UNIX_EPOCH);
            Ids::new(Arc::new(clock), Arc::new(SeededEntropy::new(7)))
        };
        let id: AccountId = ids().id();
        assert_eq!(id, ids().id());
        assert_eq!(id.uuid().get_version_num(), 7);
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
