use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use wanwu_tariff::{Counts, Prices, Unpayable};

/// Longest name of a model.
pub const MAX_MODEL: usize = 128;
/// Most prices of a list, over all tiers: what an event and an answer hold.
pub const MAX_PRICES: usize = 10_000;
/// Most tiers above 0.
pub const MAX_TIERS: usize = 16;

/// An immutable price list: 10^-9 CNY for one unit of a model, by tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceList {
    /// Counts from 1; 0 while it is proposed.
    pub version: i32,
    /// From when it is in force.
    pub effective_at: DateTime<Utc>,
    /// What is to be spent in a month for the tiers 1, 2, ..., in 10^-9 CNY.
    pub tiers: Vec<i64>,
    /// By model and tier.
    pub prices: BTreeMap<(String, i32), Prices>,
}

/// There is no amount for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPriced {
    /// The list has no such model.
    #[error("the list has no price for the model")]
    Model,
    /// The counts cannot be charged.
    #[error(transparent)]
    Counts(#[from] Unpayable),
}

impl PriceList {
    /// What can be wrong with a list that is to be published.
    ///
    /// # Errors
    /// Says what.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.effective_at.timestamp_subsec_nanos() != 0 {
            return Err("the start is a whole second");
        }
        if self.prices.is_empty() {
            return Err("there are no prices");
        }
        let units: usize = self
            .prices
            .values()
            .map(|prices| prices.units().count())
            .sum();
        if self.tiers.len() > MAX_TIERS || units > MAX_PRICES {
            return Err("there are too many tiers or prices");
        }
        let rises = self.tiers.windows(2).all(|pair| pair[0] < pair[1]);
        if !rises || self.tiers.first().is_some_and(|first| *first <= 0) {
            return Err("each tier has a higher threshold than the one below");
        }
        let models: BTreeSet<&str> = self
            .prices
            .keys()
            .map(|(model, _)| model.as_str())
            .collect();
        if models
            .iter()
            .any(|model| model.is_empty() || model.len() > MAX_MODEL)
        {
            return Err("a model has 1 to 128 bytes");
        }
        if !self.prices.values().all(Prices::is_whole) {
            return Err("a model has prices for input and output tokens");
        }
        let sold = models
            .iter()
            .all(|model| self.prices.contains_key(&((*model).to_owned(), 0)));
        if !sold {
            return Err("a model has prices in tier 0");
        }
        let tiers = 0..=self.highest_tier();
        if self.prices.keys().any(|(_, tier)| !tiers.contains(tier)) {
            return Err("prices name a tier that is not there");
        }
        Ok(())
    }

    /// The highest tier, 0 where there is one price for all.
    #[must_use]
    pub fn highest_tier(&self) -> i32 {
        i32::try_from(self.tiers.len()).unwrap_or(i32::MAX)
    }

    /// The tier of who spent so much in the month before or in this one, whichever was more.
    #[must_use]
    pub fn tier(&self, spent_nanos: i64) -> i32 {
        let reached = self
            .tiers
            .partition_point(|threshold| *threshold <= spent_nanos);
        i32::try_from(reached).unwrap_or(i32::MAX)
    }

    /// The prices of a model in a tier: its own there, else those of the tier below.
    #[must_use]
    pub fn prices(&self, model: &str, tier: i32) -> Option<&Prices> {
        let model = model.to_owned();
        let below = self.prices.range((model.clone(), 0)..=(model, tier));
        below.last().map(|(_, prices)| prices)
    }

    /// Every model with its prices in a tier.
    pub fn models(&self, tier: i32) -> impl Iterator<Item = (&str, &Prices)> {
        let of_all = self.prices.keys().filter(|(_, at)| *at == 0);
        of_all.filter_map(move |(model, _)| Some((model.as_str(), self.prices(model, tier)?)))
    }

    /// What a call costs, in 10^-9 CNY.
    ///
    /// # Errors
    /// No such model, no price for a unit, or an amount beyond all reason.
    pub fn cost(&self, model: &str, tier: i32, counts: Counts) -> Result<i64, NotPriced> {
        let prices = self.prices(model, tier).ok_or(NotPriced::Model)?;
        Ok(prices.cost(counts)?)
    }
}

#[cfg(test)]
mod tests {
    use wanwu_tariff::Unit;

    use super::*;

    fn list(tiers: &[i64], prices: &[(&str, i32, i64)]) -> PriceList {
        let prices = prices.iter().map(|(model, tier, price)| {
            (((*model).to_owned(), *tier), Prices::tokens(*price, 1_000))
        });
        PriceList {
            version: 1,
            effective_at: DateTime::UNIX_EPOCH,
            tiers: tiers.to_vec(),
            prices: prices.collect(),
        }
    }

    #[test]
    fn a_call_costs_its_units_times_their_prices() {
        let mut list = list(&[], &[("m", 0, 500)]);
        let cost = |list: &PriceList, model, counts| list.cost(model, 0, counts);
        assert_eq!(cost(&list, "m", Counts::tokens(3, 7)), Ok(8_500));
        assert_eq!(cost(&list, "m", Counts::tokens(0, 0)), Ok(0));
        assert_eq!(
            cost(&list, "other", Counts::tokens(1, 1)),
            Err(NotPriced::Model)
        );
        let all = Counts::tokens(i64::MAX as u64, 1);
        assert_eq!(
            cost(&list, "m", all),
            Err(NotPriced::Counts(Unpayable::Overflow))
        );
        let cached = Counts::tokens(3, 7).with(Unit::CachedInputToken, 2);
        assert_eq!(
            cost(&list, "m", cached),
            Ok(8_500),
            "at the price of its whole"
        );
        let own = Prices::tokens(500, 1_000).with(Unit::CachedInputToken, 50);
        list.prices.insert(("m".to_owned(), 0), own);
        assert_eq!(cost(&list, "m", cached), Ok(7_600));
    }

    #[test]
    fn who_spent_a_threshold_has_the_prices_of_its_tier_or_of_the_next_one_below() {
        let list = list(
            &[100, 1_000],
            &[("a", 0, 10), ("a", 2, 6), ("b", 0, 20), ("b", 1, 15)],
        );
        for (spent, tier, a, b) in [
            (0, 0, 10, 20),
            (99, 0, 10, 20),
            (100, 1, 10, 15),
            (999, 1, 10, 15),
            (1_000, 2, 6, 15),
            (i64::MAX, 2, 6, 15),
        ] {
            assert_eq!(list.tier(spent), tier, "{spent}");
            let input = |model| list.prices(model, tier).unwrap().own(Unit::InputToken);
            assert_eq!((input("a"), input("b")), (Some(a), Some(b)), "{spent}");
            assert_eq!(list.models(tier).count(), 2);
        }
        assert_eq!(list.prices("aa", 2), None);
    }

    #[test]
    fn lists_that_cannot_be_are_told_apart() {
        assert_eq!(list(&[5], &[("a", 0, 1), ("a", 1, 1)]).check(), Ok(()));
        let mut late = list(&[], &[("a", 0, 1)]);
        late.effective_at += chrono::Duration::milliseconds(1);
        let long = "m".repeat(MAX_MODEL + 1);
        let wrong = [
            late,
            list(&[], &[]),
            list(&[0], &[("a", 0, 1)]),
            list(&[5, 5], &[("a", 0, 1)]),
            list(&[1; MAX_TIERS + 1], &[("a", 0, 1)]),
            list(&[5], &[("a", 1, 1)]),
            list(&[5], &[("a", 0, 1), ("a", 2, 1)]),
            list(&[], &[("a", 0, 1), ("a", -1, 1)]),
            list(&[], &[("", 0, 1)]),
            list(&[], &[(&long, 0, 1)]),
        ];
        for list in wrong {
            assert!(list.check().is_err(), "{list:?}");
        }
    }
}
