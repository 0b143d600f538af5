/// The state of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The replica may spend it.
    Open,
    /// The replica stated what it spent; calls are still to be settled.
    Closed,
    /// Everything is settled and the rest went back.
    Freed,
}

impl State {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Freed => "freed",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Open, Self::Closed, Self::Freed]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// How many calls, and their sum in 10^-9 CNY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls.
    pub calls: i64,
    /// Their sum.
    pub nanos: i64,
}

/// Credit lent to an epoch, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What was lent, in 10^-9 CNY.
    pub amount: i64,
    /// Where it stands.
    pub state: State,
    /// What the replica said that it spent.
    pub stated: Option<Tally>,
    /// What was settled.
    pub settled: Tally,
}

/// The lease does not allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// It was closed before with other numbers.
    #[error("the lease was closed with other numbers")]
    Mismatch,
    /// More would be settled than was lent, or stated.
    #[error("more is settled than the lease holds")]
    Overdrawn,
    /// It was freed: nothing can be settled on it any more.
    #[error("the lease is freed")]
    Freed,
}

impl Lease {
    /// A new lease.
    #[must_use]
    pub const fn open(amount: i64) -> Self {
        Self {
            amount,
            state: State::Open,
            stated: None,
            settled: Tally { calls: 0, nanos: 0 },
        }
    }

    /// The replica states what it spent; stating the same again is fine. Answers what goes back to
    /// the customer now, if everything is settled.
    pub fn close(&mut self, stated: Tally) -> Result<Option<i64>, LeaseError> {
        if let Some(before) = self.stated {
            return if before == stated {
                Ok(None)
            } else {
                Err(LeaseError::Mismatch)
            };
        }
        let fits = stated.calls >= self.settled.calls
            && stated.nanos >= self.settled.nanos
            && stated.nanos <= self.amount;
        if !fits {
            return Err(LeaseError::Overdrawn);
        }
        self.stated = Some(stated);
        self.state = State::Closed;
        Ok(self.free())
    }

    /// It is worth only so much any more. Answers what goes back to the customer, if it was worth
    /// more and is open.
    pub fn reduce(&mut self, amount: i64) -> Result<Option<i64>, LeaseError> {
        if self.state != State::Open || amount >= self.amount {
            return Ok(None);
        }
        if amount < self.settled.nanos {
            return Err(LeaseError::Overdrawn);
        }
        let rest = self.amount - amount;
        self.amount = amount;
        Ok(Some(rest))
    }

    /// A call is settled. Answers what goes back to the customer now, if it was the last.
    pub fn settle(&mut self, nanos: i64) -> Result<Option<i64>, LeaseError> {
        if self.state == State::Freed {
            return Err(LeaseError::Freed);
        }
        let settled = Tally {
            calls: self.settled.calls + 1,
            nanos: self.settled.nanos.saturating_add(nanos),
        };
        let stated = self.stated.unwrap_or(Tally {
            calls: i64::MAX,
            nanos: self.amount,
        });
        if nanos < 0 || settled.calls > stated.calls || settled.nanos > stated.nanos {
            return Err(LeaseError::Overdrawn);
        }
        self.settled = settled;
        Ok(self.free())
    }

    fn free(&mut self) -> Option<i64> {
        if self.state != State::Closed || self.stated != Some(self.settled) {
            return None;
        }
        self.state = State::Freed;
        Some(self.amount - self.settled.nanos)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lease_without_calls_goes_back_whole() {
        let mut lease = Lease::open(100);
        assert_eq!(lease.close(Tally::default()), Ok(Some(100)));
        assert_eq!(lease.state, State::Freed);
        assert_eq!(lease.close(Tally::default()), Ok(None), "again, the same");
        assert_eq!(
            lease.close(Tally { calls: 1, nanos: 1 }),
            Err(LeaseError::Mismatch)
        );
        assert_eq!(lease.settle(0), Err(LeaseError::Freed));
    }

    #[test]
    fn more_than_was_lent_or_stated_is_refused() {
        let mut lease = Lease::open(100);
        assert_eq!(lease.settle(101), Err(LeaseError::Overdrawn));
        assert_eq!(lease.settle(60), Ok(None));
        assert_eq!(
            lease.close(Tally {
                calls: 1,
                nanos: 59
            }),
            Err(LeaseError::Overdrawn)
        );
        assert_eq!(
            lease.close(Tally {
                calls: 2,
                nanos: 101
            }),
            Err(LeaseError::Overdrawn)
        );
        assert_eq!(
            lease.close(Tally {
                calls: 2,
                nanos: 70
            }),
            Ok(None)
        );
        assert_eq!(lease.settle(11), Err(LeaseError::Overdrawn));
        assert_eq!(lease.settle(10), Ok(Some(30)));
    }

    #[test]
    fn a_lease_becomes_smaller_and_never_larger() {
        let mut lease = Lease::open(100);
        assert_eq!(lease.settle(30), Ok(None));
        assert_eq!(lease.reduce(60), Ok(Some(40)));
        assert_eq!(lease.reduce(60), Ok(None), "again, the same");
        assert_eq!(lease.reduce(80), Ok(None), "overtaken by a later one");
        assert_eq!(lease.reduce(29), Err(LeaseError::Overdrawn));
        assert_eq!(lease.settle(31), Err(LeaseError::Overdrawn));
        let stated = Tally {
            calls: 1,
            nanos: 30,
        };
        assert_eq!(lease.close(stated), Ok(Some(30)));
        assert_eq!(lease.reduce(30), Ok(None), "it is freed");
    }

    proptest! {
        #[test]
        fn whenever_the_close_comes_exactly_the_rest_goes_back_once(
            amounts in prop::collection::vec(0_i64..1000, 0..20),
            spare in 0_i64..1000,
            close_at in 0_usize..21,
        ) {
            let sum: i64 = amounts.iter().sum();
            let lent = sum + spare + 1;
            let stated = Tally { calls: amounts.len() as i64, nanos: sum };
            let mut lease = Lease::open(lent);
            let mut returned = Vec::new();
            let close_at = close_at.min(amounts.len());
            for (index, amount) in amounts.iter().enumerate() {
                if index == close_at {
                    returned.extend(lease.close(stated).unwrap());
                }
                returned.extend(lease.settle(*amount).unwrap());
            }
            if close_at == amounts.len() {
                returned.extend(lease.close(stated).unwrap());
            }
            prop_assert_eq!(returned, vec![lent - sum]);
            prop_assert_eq!(lease.state, State::Freed);
        }
    }
}
