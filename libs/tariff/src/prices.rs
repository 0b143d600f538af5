use crate::{Counts, Unit};

/// The prices of one model, in 10^-9 CNY for one unit. Tokens of prompt and answer always have one;
/// a part without one has that of its whole; what is no token and has none cannot be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prices([Option<i64>; Unit::ALL.len()]);

/// One line of a bill: so many of a unit at the price of `priced_as`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// What is counted.
    pub unit: Unit,
    /// How many.
    pub count: u64,
    /// The unit whose price applies: the same, or the one that it is part of.
    pub priced_as: Unit,
    /// 10^-9 CNY for one.
    pub nanos_per_unit: i64,
    /// Their product.
    pub amount: i64,
}

/// There is no amount for these counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpayable {
    /// The model has no price for this unit.
    #[error("there is no price for {}", .0.as_str())]
    Unpriced(Unit),
    /// More than 9.2 thousand million yuan.
    #[error("the amount is beyond all reason")]
    Overflow,
}

impl Prices {
    /// Nothing has a price yet.
    pub const NONE: Self = Self([None; Unit::ALL.len()]);

    /// A model that charges tokens of prompt and answer alike whatever they are.
    #[must_use]
    pub const fn tokens(input: i64, output: i64) -> Self {
        Self::NONE
            .with(Unit::InputToken, input)
            .with(Unit::OutputToken, output)
    }

    /// The same with a price for a unit. Below 0 counts as 0: nobody is paid for calling.
    #[must_use]
    pub const fn with(mut self, unit: Unit, nanos: i64) -> Self {
        self.0[unit.index()] = Some(if nanos < 0 { 0 } else { nanos });
        self
    }

    /// From prices by unit; `None` without one for tokens of prompt and of answer.
    #[must_use]
    pub fn from_units(units: impl IntoIterator<Item = (Unit, i64)>) -> Option<Self> {
        let prices = units
            .into_iter()
            .fold(Self::NONE, |prices, (unit, nanos)| prices.with(unit, nanos));
        prices.is_whole().then_some(prices)
    }

    /// Tokens of prompt and of answer have prices.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.own(Unit::InputToken).is_some() && self.own(Unit::OutputToken).is_some()
    }

    /// The prices that are set, in the order of the contract.
    pub fn units(&self) -> impl Iterator<Item = (Unit, i64)> {
        let prices = *self;
        Unit::ALL
            .into_iter()
            .filter_map(move |unit| Some((unit, prices.own(unit)?)))
    }

    /// The price that is set for a unit itself.
    #[must_use]
    pub const fn own(&self, unit: Unit) -> Option<i64> {
        self.0[unit.index()]
    }

    /// The price that applies to a unit, and the unit that it is set for.
    #[must_use]
    pub fn of(&self, unit: Unit) -> Option<(Unit, i64)> {
        [Some(unit), unit.whole()]
            .into_iter()
            .flatten()
            .find_map(|unit| Some((unit, self.own(unit)?)))
    }

    /// What counts cost, in 10^-9 CNY. Parts of a whole are charged once, at their own price; parts
    /// that are more than their whole should not come here ([`Counts::clamped`]): each is charged.
    ///
    /// # Errors
    /// No price for a unit, or an amount that is too large.
    pub fn cost(&self, counts: Counts) -> Result<i64, Unpayable> {
        self.lines(counts).try_fold(0_i64, |sum, line| {
            sum.checked_add(line?.amount).ok_or(Unpayable::Overflow)
        })
    }

    /// The same as lines, one for each unit that was counted; their amounts sum to the cost.
    ///
    /// # Errors
    /// As [`Prices::cost`].
    pub fn explain(&self, counts: Counts) -> Result<Vec<Line>, Unpayable> {
        self.cost(counts)?;
        self.lines(counts).collect()
    }

    /// What a call costs at most that uses so many tokens, whatever they turn out to be: for credit
    /// to be held. `None`: more than there is.
    #[must_use]
    pub fn bound(&self, input: u64, output: u64) -> Option<i64> {
        let tokens = [(Unit::InputToken, input), (Unit::OutputToken, output)];
        let call = i128::from(self.own(Unit::Call).unwrap_or_default());
        let sum = tokens.into_iter().fold(call, |sum, (whole, count)| {
            let most = i128::from(self.highest(whole)) * i128::from(count);
            sum.saturating_add(most)
        });
        i64::try_from(sum).ok()
    }

    /// The highest price that a token of a whole can have.
    #[must_use]
    pub fn highest(&self, whole: Unit) -> i64 {
        let parts = Unit::ALL
            .into_iter()
            .filter(|unit| *unit == whole || unit.whole() == Some(whole));
        parts.filter_map(|unit| self.own(unit)).max().unwrap_or(0)
    }

    fn lines(&self, counts: Counts) -> impl Iterator<Item = Result<Line, Unpayable>> {
        let prices = *self;
        Unit::ALL
            .into_iter()
            .map(move |unit| (unit, counts.own(unit)))
            .filter(|(_, count)| *count > 0)
            .map(move |(unit, count)| prices.line(unit, count))
    }

    fn line(&self, unit: Unit, count: u64) -> Result<Line, Unpayable> {
        let (priced_as, nanos_per_unit) = self.of(unit).ok_or(Unpayable::Unpriced(unit))?;
        let number = i64::try_from(count).map_err(|_| Unpayable::Overflow)?;
        let amount = nanos_per_unit
            .checked_mul(number)
            .ok_or(Unpayable::Overflow)?;
        Ok(Line {
            unit,
            count,
            priced_as,
            nanos_per_unit,
            amount,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_is_charged_once_at_its_own_price_or_at_that_of_its_whole() {
        let prices = Prices::tokens(500, 1_000)
            .with(Unit::CachedInputToken, 50)
            .with(Unit::Call, 7);
        let counts = Counts::tokens(100, 10)
            .with(Unit::CachedInputToken, 30)
            .with(Unit::ReasoningToken, 4)
            .with(Unit::Call, 1);
        let lines = prices.explain(counts).unwrap();
        let lines: Vec<_> = lines
            .iter()
            .map(|line| (line.unit, line.count, line.priced_as, line.amount))
            .collect();
        use Unit::{CachedInputToken, Call, InputToken, OutputToken, ReasoningToken};
        assert_eq!(
            lines,
            [
                (InputToken, 70, InputToken, 35_000),
                (OutputToken, 6, OutputToken, 6_000),
                (CachedInputToken, 30, CachedInputToken, 1_500),
                (ReasoningToken, 4, OutputToken, 4_000),
                (Call, 1, Call, 7),
            ]
        );
        assert_eq!(prices.cost(counts), Ok(46_507));
        assert_eq!(prices.bound(100, 10), Some(60_007));
        assert_eq!(prices.cost(Counts::default()), Ok(0));
    }

    #[test]
    fn what_has_no_price_or_is_too_much_is_refused() {
        let prices = Prices::tokens(500, 1_000);
        let pages = Counts::default().with(Unit::Page, 1);
        assert_eq!(prices.cost(pages), Err(Unpayable::Unpriced(Unit::Page)));
        assert_eq!(
            prices.cost(Counts::tokens(u64::MAX, 0)),
            Err(Unpayable::Overflow)
        );
        let half = i64::MAX as u64 / 1_000;
        let sum = Counts::tokens(half * 2, half);
        assert_eq!(prices.cost(sum), Err(Unpayable::Overflow));
        assert_eq!(prices.explain(sum), Err(Unpayable::Overflow));
        assert_eq!(prices.bound(u64::MAX, u64::MAX), None);
        assert_eq!(Prices::from_units([(Unit::InputToken, 1)]), None);
        assert_eq!(
            Prices::from_units(prices.units()),
            Some(prices),
            "there and back"
        );
    }

    fn any_prices() -> impl Strategy<Value = Prices> {
        let price = prop_oneof![0_i64..5_000, Just(0), Just(i64::MAX), 0..i64::MAX];
        let rest = prop::collection::vec(prop::option::of(price.clone()), Unit::ALL.len() - 2);
        (price.clone(), price, rest).prop_map(|(input, output, rest)| {
            let rest = Unit::ALL.into_iter().skip(2).zip(rest);
            rest.fold(Prices::tokens(input, output), |prices, (unit, price)| {
                price.map_or(prices, |price| prices.with(unit, price))
            })
        })
    }

    fn any_counts() -> impl Strategy<Value = Counts> {
        // Small enough for the other computation, which needs differences.
        let count = prop_oneof![0_u64..100_000, Just(0), Just(1), 0_u64..1 << 60];
        prop::collection::vec(count, Unit::ALL.len()).prop_map(|counts| {
            let counts = Unit::ALL.into_iter().zip(counts);
            counts.fold(Counts::default(), |all, (unit, count)| {
                all.with(unit, count)
            })
        })
    }

    /// The rule again, written down otherwise: each token of a whole is dealt with on its own heap.
    fn oracle(prices: &Prices, counts: &Counts) -> Option<i128> {
        let price = |unit: Unit| prices.own(unit).map(i128::from);
        let count = |unit: Unit| i128::from(counts.of(unit));
        let input = price(Unit::InputToken)?;
        let output = price(Unit::OutputToken)?;
        let cached = price(Unit::CachedInputToken).unwrap_or(input) - input;
        let sound_in = price(Unit::AudioInputToken).unwrap_or(input) - input;
        let picture = price(Unit::ImageInputToken).unwrap_or(input) - input;
        let reasoned = price(Unit::ReasoningToken).unwrap_or(output) - output;
        let sound_out = price(Unit::AudioOutputToken).unwrap_or(output) - output;
        // The whole at its price, and for each part what it costs more, or less.
        let mut sum = count(Unit::InputToken) * input + count(Unit::OutputToken) * output;
        sum += count(Unit::CachedInputToken) * cached;
        sum += count(Unit::AudioInputToken) * sound_in;
        sum += count(Unit::ImageInputToken) * picture;
        sum += count(Unit::ReasoningToken) * reasoned;
        sum += count(Unit::AudioOutputToken) * sound_out;
        for unit in [Unit::AudioSecond, Unit::Page, Unit::Image, Unit::Call] {
            match price(unit) {
                Some(price) => sum += count(unit) * price,
                None if count(unit) == 0 => {}
                None => return None,
            }
        }
        Some(sum)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_cost_is_what_another_computation_says(prices in any_prices(), counts in any_counts()) {
            let counts = counts.clamped();
            let expected = oracle(&prices, &counts);
            match prices.cost(counts) {
                Ok(cost) => prop_assert_eq!(Some(i128::from(cost)), expected),
                Err(Unpayable::Unpriced(_)) => prop_assert!(
                    expected.is_none_or(|sum| sum > i128::from(i64::MAX))),
                Err(Unpayable::Overflow) => prop_assert!(
                    expected.is_none_or(|sum| sum > i128::from(i64::MAX))),
            }
        }

        #[test]
        fn the_lines_sum_to_the_cost(prices in any_prices(), counts in any_counts()) {
            let counts = counts.clamped();
            if let Ok(lines) = prices.explain(counts) {
                let sum: i128 = lines.iter().map(|line| {
                    assert_eq!(i128::from(line.amount), i128::from(line.nanos_per_unit) * i128::from(line.count));
                    i128::from(line.amount)
                }).sum();
                prop_assert_eq!(Ok(i64::try_from(sum).unwrap()), prices.cost(counts));
                let tokens = |whole: Unit| -> u64 {
                    lines.iter().filter(|line| line.unit == whole || line.unit.whole() == Some(whole))
                        .map(|line| line.count).sum()
                };
                prop_assert_eq!(tokens(Unit::InputToken), counts.input());
                prop_assert_eq!(tokens(Unit::OutputToken), counts.output());
            }
        }

        #[test]
        fn no_bill_within_the_bound_exceeds_the_hold(
            prices in any_prices(), counts in any_counts(), input in 0_u64..1_000_000, output in 0_u64..1_000_000,
        ) {
            let free = [Unit::AudioSecond, Unit::Page, Unit::Image];
            let billed = free.into_iter().fold(counts, |counts, unit| counts.with(unit, 0));
            let calls = u64::from(prices.own(Unit::Call).is_some());
            let billed = billed.within(input, output).with(Unit::Call, calls);
            if let Some(bound) = prices.bound(input, output) {
                prop_assert!(prices.cost(billed).unwrap() <= bound);
            }
        }
    }
}
