//! Which money was spent on what: what came first is spent first, to the last 10^-9 CNY.

use std::collections::VecDeque;

use uuid::Uuid;

/// Money that came at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot {
    /// The order, or what else brought it.
    pub cause: Uuid,
    /// How much came.
    pub credited: i64,
    /// What of it is left.
    pub left: i64,
}

/// A part of a lot, and what it went for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<T> {
    /// The lot's cause.
    pub lot: Uuid,
    /// What it went for.
    pub spent_on: T,
    /// How much, above zero.
    pub nanos: i64,
}

/// The lots of one customer, fed with what came and what went in the order of the books.
#[derive(Debug)]
pub struct Attribution<T> {
    lots: Vec<Lot>,
    /// The oldest lot of which something may be left.
    oldest: usize,
    /// Spent before the money for it is in the books: clocks of replicas differ by a little.
    ahead: VecDeque<(T, i64)>,
}

impl<T> Default for Attribution<T> {
    fn default() -> Self {
        Self {
            lots: Vec::new(),
            oldest: 0,
            ahead: VecDeque::new(),
        }
    }
}

impl<T: Copy> Attribution<T> {
    /// Money comes.
    pub fn credit(&mut self, cause: Uuid, nanos: i64, mut tell: impl FnMut(Part<T>)) {
        self.lots.push(Lot {
            cause,
            credited: nanos,
            left: nanos,
        });
        while let Some((spent_on, wanted)) = self.ahead.pop_front() {
            let missing = self.take(spent_on, wanted, &mut tell);
            if missing > 0 {
                self.ahead.push_front((spent_on, missing));
                break;
            }
        }
    }

    /// Money goes; what goes back of one order is that order's first.
    pub fn spend(
        &mut self,
        spent_on: T,
        nanos: i64,
        first: Option<Uuid>,
        mut tell: impl FnMut(Part<T>),
    ) {
        let mut wanted = nanos;
        let own = first.and_then(|first| self.lots.iter_mut().find(|lot| lot.cause == first));
        if let Some(lot) = own {
            wanted -= from(lot, spent_on, wanted, &mut tell);
        }
        let missing = self.take(spent_on, wanted, &mut tell);
        if missing > 0 {
            self.ahead.push_back((spent_on, missing));
        }
    }

    /// The lots, oldest first.
    #[must_use]
    pub fn lots(&self) -> &[Lot] {
        &self.lots
    }

    /// Takes from the oldest on; answers what is missing.
    fn take(&mut self, spent_on: T, mut wanted: i64, tell: &mut impl FnMut(Part<T>)) -> i64 {
        while wanted > 0 {
            let Some(lot) = self.lots.get_mut(self.oldest) else {
                break;
            };
            wanted -= from(lot, spent_on, wanted, tell);
            if lot.left == 0 {
                self.oldest += 1;
            }
        }
        wanted
    }
}

fn from<T>(lot: &mut Lot, spent_on: T, wanted: i64, tell: &mut impl FnMut(Part<T>)) -> i64 {
    let nanos = wanted.min(lot.left);
    if nanos > 0 {
        lot.left -= nanos;
        tell(Part {
            lot: lot.cause,
            spent_on,
            nanos,
        });
    }
    nanos
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn what_came_first_is_spent_first_and_what_goes_back_is_the_orders_own() {
        let (mut money, mut parts) = (Attribution::default(), Vec::new());
        money.credit(id(1), 10, |part| parts.push(part));
        money.credit(id(2), 10, |part| parts.push(part));
        money.spend("a", 7, None, |part| parts.push(part));
        money.spend("back", 4, Some(id(2)), |part| parts.push(part));
        money.spend("b", 5, None, |part| parts.push(part));
        let told: Vec<_> = parts
            .iter()
            .map(|part| (part.lot.as_u128(), part.spent_on, part.nanos))
            .collect();
        let expected = [(1, "a", 7), (2, "back", 4), (1, "b", 3), (2, "b", 2)];
        assert_eq!(told, expected);
        let left: Vec<_> = money.lots().iter().map(|lot| lot.left).collect();
        assert_eq!(left, [0, 4]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_counted_twice(
            steps in prop::collection::vec((any::<bool>(), 1_i64..1_000_000, prop::option::of(0_usize..8)), 0..80),
        ) {
            let (mut money, mut parts) = (Attribution::default(), Vec::new());
            let (mut came, mut went, mut lots) = (0, 0, 0_u128);
            let mut wanted = Vec::new();
            for (place, (comes, nanos, first)) in steps.into_iter().enumerate() {
                if comes {
                    money.credit(id(lots), nanos, |part| parts.push(part));
                    (came, lots) = (came + nanos, lots + 1);
                } else {
                    let first = first.map(|first| id(first as u128));
                    money.spend(place, nanos, first, |part| parts.push(part));
                    went += nanos;
                    wanted.push((place, nanos));
                }
            }
            let left: i64 = money.lots().iter().map(|lot| lot.left).sum();
            let told: i64 = parts.iter().map(|part: &Part<usize>| part.nanos).sum();
            prop_assert_eq!(left, came - told);
            // As the order of the books allows, everything that came is used before something is ahead.
            if told < went {
                prop_assert_eq!(left, 0);
            }
            for lot in money.lots() {
                prop_assert!((0..=lot.credited).contains(&lot.left));
                let of_it = parts.iter().filter(|part| part.lot == lot.cause);
                prop_assert_eq!(of_it.map(|part| part.nanos).sum::<i64>(), lot.credited - lot.left);
            }
            for (place, nanos) in wanted {
                let of_it = parts.iter().filter(|part| part.spent_on == place);
                prop_assert!(of_it.map(|part| part.nanos).sum::<i64>() <= nanos);
            }
        }
    }
}
