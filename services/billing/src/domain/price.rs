use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// A token of the prompt.
    InputToken,
    /// A token of the answer.
    OutputToken,
}

impl Unit {
    /// Every unit.
    pub const ALL: [Self; 2] = [Self::InputToken, Self::OutputToken];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InputToken => "input_token",
            Self::OutputToken => "output_token",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.as_str() == text)
    }
}

/// An immutable price list: 10^-9 CNY for one unit of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceList {
    /// Counts from 1.
    pub version: i32,
    /// From when it is in force.
    pub effective_at: DateTime<Utc>,
    /// By model and unit.
    pub prices: BTreeMap<(String, Unit), i64>,
}

impl PriceList {
    /// What a call costs, in 10^-9 CNY; `None` when the list has no price for the model or the
    /// amount is beyond all reason.
    #[must_use]
    pub fn amount(&self, model: &str, input_tokens: i64, output_tokens: i64) -> Option<i64> {
        let price = |unit| self.prices.get(&(model.to_owned(), unit)).copied();
        let input = price(Unit::InputToken)?.checked_mul(input_tokens)?;
        let output = price(Unit::OutputToken)?.checked_mul(output_tokens)?;
        input.checked_add(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_costs_its_units_times_their_prices() {
        let list = PriceList {
            version: 1,
            effective_at: DateTime::UNIX_EPOCH,
            prices: BTreeMap::from([
                (("m".to_owned(), Unit::InputToken), 500),
                (("m".to_owned(), Unit::OutputToken), 1000),
            ]),
        };
        assert_eq!(list.amount("m", 3, 7), Some(8_500));
        assert_eq!(list.amount("m", 0, 0), Some(0));
        assert_eq!(list.amount("other", 1, 1), None);
        assert_eq!(list.amount("m", i64::MAX, 1), None);
    }
}
