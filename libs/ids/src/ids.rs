use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use uuid::Builder;
use wanwu_clock::{SharedClock, SharedEntropy, SystemClock, SystemEntropy};

use crate::Id;

/// Makes ids from a clock and chance. Of the ids that it and its clones make, a later one is greater:
/// what is listed by its id is listed as it came.
#[derive(Clone)]
pub struct Ids {
    clock: SharedClock,
    entropy: SharedEntropy,
    /// Milliseconds and counter of the last id.
    last: Arc<AtomicU64>,
}

/// Bits of the counter within a millisecond (RFC 9562, section 6.2, method 1).
const COUNTER_BITS: u32 = 12;
/// Where a counter begins is chance, in its lower half: what is above is room to count.
const COUNTER_BEGINS: u64 = (1 << (COUNTER_BITS - 1)) - 1;

impl Ids {
    /// Makes ids from these.
    #[must_use]
    pub fn new(clock: SharedClock, entropy: SharedEntropy) -> Self {
        let last = Arc::default();
        Self {
            clock,
            entropy,
            last,
        }
    }

    /// Makes ids from the machine's clock and chance.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy::default()))
    }

    /// A new UUIDv7 (RFC 9562). More than its counter holds in one millisecond borrow from the next.
    #[must_use]
    pub fn id<K>(&self) -> Id<K> {
        let mut chance = [0; 10];
        self.entropy.fill(&mut chance);
        let counter = u64::from(u16::from_be_bytes([chance[0], chance[1]])) & COUNTER_BEGINS;
        let millis = u64::try_from(self.clock.now().timestamp_millis()).unwrap_or_default();
        let now = (millis << COUNTER_BITS) | counter;
        let next = |last: u64| now.max(last + 1);
        let order = Ordering::Relaxed;
        let last = self
            .last
            .fetch_update(order, order, |last| Some(next(last)));
        let made = next(last.unwrap_or_else(|last| last));
        let counter = u16::try_from(made & ((1 << COUNTER_BITS) - 1)).unwrap_or_default();
        chance[..2].copy_from_slice(&counter.to_be_bytes());
        let id = Builder::from_unix_timestamp_millis(made >> COUNTER_BITS, &chance);
        Id::from_uuid(id.into_uuid())
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

    #[test]
    fn a_later_id_is_greater_even_in_the_same_millisecond() {
        let clock = TestClock::new(DateTime::UNIX_EPOCH);
        let ids = Ids::new(Arc::new(clock), Arc::new(SeededEntropy::new(7)));
        let made: Vec<AccountId> = (0..10_000).map(|_| ids.clone().id()).collect();
        assert!(made.is_sorted_by(|earlier, later| earlier < later));
        let random = |id: &AccountId| id.uuid().as_u64_pair().1;
        let tails: std::collections::HashSet<u64> = made.iter().map(random).collect();
        assert_eq!(tails.len(), made.len(), "the rest is chance");
    }
}
