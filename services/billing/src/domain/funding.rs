//! What a lease is paid from: packages first, the one that ends first before the others; then the
//! balance. What a lease did not spend goes back the other way round.
//!
//! **Invariant**: the parts of a lease sum to its amount; of what was spent and what goes back, too.

use uuid::Uuid;

/// What there is, in the order in which it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Packages that pay for the call, the one that ends first before the others.
    pub packages: Vec<(Uuid, i64)>,
    /// Free credit, and what may be lent beyond zero; below zero: nothing is there.
    pub available: i64,
}

/// The parts of a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Funding {
    /// Of packages, in the order in which they are used; none is empty.
    pub packages: Vec<(Uuid, i64)>,
    /// Of the balance.
    pub balance: i64,
}

impl Sources {
    /// Everything.
    #[must_use]
    pub fn total(&self) -> i64 {
        let packages = self.packages.iter().map(|(_, nanos)| *nanos);
        packages
            .chain([self.available])
            .fold(0_i64, |sum, nanos| sum.saturating_add(nanos.max(0)))
    }

    /// The parts of a lease of so much, which is at most [`Self::total`].
    #[must_use]
    pub fn fund(&self, amount: i64) -> Funding {
        let mut rest = amount;
        let mut take = |there: i64| {
            let nanos = rest.min(there.max(0));
            rest -= nanos;
            nanos
        };
        let packages = self.packages.iter();
        Funding {
            packages: packages
                .map(|(id, there)| (*id, take(*there)))
                .filter(|(_, nanos)| *nanos > 0)
                .collect(),
            balance: take(self.available),
        }
    }
}

impl Funding {
    /// What goes back of each part when the lease spent so much.
    #[must_use]
    pub fn rest(&self, spent: i64) -> Self {
        let mut spent = spent;
        let mut left = |part: i64| {
            let used = spent.min(part);
            spent -= used;
            part - used
        };
        Self {
            packages: self
                .packages
                .iter()
                .map(|(id, nanos)| (*id, left(*nanos)))
                .collect(),
            balance: left(self.balance),
        }
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> i64 {
        self.of_packages() + self.balance
    }

    /// What is of packages.
    #[must_use]
    pub fn of_packages(&self) -> i64 {
        self.packages.iter().map(|(_, nanos)| nanos).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sources(packages: &[i64], available: i64) -> Sources {
        let packages = (1..).zip(packages);
        Sources {
            packages: packages
                .map(|(n, nanos)| (Uuid::from_u128(n), *nanos))
                .collect(),
            available,
        }
    }

    #[test]
    fn packages_pay_first_and_the_balance_last() {
        let there = sources(&[0, 30, 50], 100);
        assert_eq!(there.total(), 180);
        let parts = |amount: i64| {
            let funding = there.fund(amount);
            (funding.of_packages(), funding.balance)
        };
        assert_eq!(parts(20), (20, 0));
        assert_eq!(parts(90), (80, 10));
        assert_eq!(parts(180), (80, 100));
        let funding = there.fund(180);
        assert_eq!(funding.packages.len(), 2, "the empty one is left out");
        let rest = funding.rest(90);
        assert_eq!((rest.of_packages(), rest.balance), (0, 90));
        assert_eq!(funding.rest(35).packages[0].1, 0);
        assert_eq!(funding.rest(35).packages[1].1, 45);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_between_the_parts(
            packages in prop::collection::vec(0_i64..1000, 0..6),
            available in 0_i64..1000,
            (part, spent) in (0.0_f64..=1.0, 0.0_f64..=1.0),
        ) {
            let there = sources(&packages, available);
            let amount = (there.total() as f64 * part) as i64;
            let funding = there.fund(amount);
            prop_assert_eq!(funding.sum(), amount);
            let spent = (amount as f64 * spent) as i64;
            let rest = funding.rest(spent);
            prop_assert_eq!(rest.sum(), amount - spent);
            prop_assert!(rest.of_packages() == 0 || rest.balance == funding.balance);
        }
    }
}
