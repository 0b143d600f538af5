//! Packages: credit at list prices for some models or for all, which ends on a day.

use chrono::{DateTime, Days, NaiveDate, Utc};
use wanwu_ids::Id;

use super::{calendar, money::NANOS_PER_FEN};

/// A package of an account.
pub type PackageId = Id<PackageKind>;

/// Marks a [`PackageId`].
#[derive(Clone, Copy, Debug)]
pub enum PackageKind {}

/// How a product is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offer {
    /// By an order.
    Sold,
    /// By itself, once an account.
    FreeOnce,
    /// By itself, once an account and month.
    FreeMonthly,
    /// By an operator's grant.
    Granted,
}

impl Offer {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sold => "sold",
            Self::FreeOnce => "free_once",
            Self::FreeMonthly => "free_monthly",
            Self::Granted => "granted",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Sold, Self::FreeOnce, Self::FreeMonthly, Self::Granted]
            .into_iter()
            .find(|offer| offer.as_str() == text)
    }

    /// In which period a free quota comes once; `None`: it does not come by itself.
    #[must_use]
    pub fn period(self, today: NaiveDate) -> Option<String> {
        match self {
            Self::FreeOnce => Some("once".to_owned()),
            Self::FreeMonthly => Some(today.format("%Y-%m").to_string()),
            Self::Sold | Self::Granted => None,
        }
    }
}

/// What can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Its name.
    pub product: String,
    /// How it is had.
    pub offer: Offer,
    /// What it costs, in fen.
    pub price_fen: i64,
    /// What it is worth, in 10^-9 CNY.
    pub credit: i64,
    /// For calls of these models; `None`: of all.
    pub models: Option<Vec<String>>,
    /// How many days it lasts after the first; `None`: to the end of the month.
    pub days: Option<u16>,
}

impl Product {
    /// When a package that begins now is over: the end of a day.
    #[must_use]
    pub fn expires_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let today = calendar::day(now);
        match self.days {
            Some(days) => calendar::end(today + Days::new(days.into())),
            None => calendar::begin(calendar::next_month(today)),
        }
    }

    /// What is paid for it, in 10^-9 CNY.
    #[must_use]
    pub const fn price(&self) -> i64 {
        self.price_fen * NANOS_PER_FEN
    }

    /// Why it cannot be.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if self.product.is_empty() || self.product.len() > 64 || !self.product.bytes().all(name) {
            return Some("a name has 1 to 64 letters, digits, `-`, `_`, `.`");
        }
        if (self.offer == Offer::Sold) != (self.price_fen > 0) {
            return Some("what is sold has a price, and nothing else has");
        }
        if self.price_fen > super::money::MAX_TOP_UP_FEN {
            return Some("the price is more than an order may have");
        }
        if self.credit <= 0 || self.credit < self.price() {
            return Some("it is worth at least what it costs");
        }
        if (self.offer == Offer::FreeMonthly) != self.days.is_none() {
            return Some("only what is free each month has no days");
        }
        if self.days == Some(0) || self.models.as_ref().is_some_and(Vec::is_empty) {
            return Some("days and models are left out or more than none");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(offer: Offer, days: Option<u16>) -> Product {
        Product {
            product: "p".to_owned(),
            offer,
            price_fen: i64::from(offer == Offer::Sold),
            credit: NANOS_PER_FEN,
            models: None,
            days,
        }
    }

    #[test]
    fn a_package_ends_with_a_day_in_shanghai() {
        let now = "2026-11-30T15:00:00Z".parse().unwrap();
        let ends = |days| product(Offer::Granted, days).expires_at(now).to_rfc3339();
        assert_eq!(ends(Some(1)), "2026-12-01T16:00:00+00:00");
        assert_eq!(ends(None), "2026-11-30T16:00:00+00:00");
    }

    #[test]
    fn a_product_that_cannot_be_is_named() {
        let good = product(Offer::Sold, Some(30));
        assert_eq!(good.problem(), None);
        let changes: [fn(&mut Product); 8] = [
            |p| p.product = String::new(),
            |p| p.product = "a b".to_owned(),
            |p| p.price_fen = 0,
            |p| p.price_fen = 2,
            |p| p.credit = 0,
            |p| p.days = None,
            |p| p.days = Some(0),
            |p| p.models = Some(Vec::new()),
        ];
        for change in changes {
            let mut other = good.clone();
            change(&mut other);
            assert!(other.problem().is_some(), "{other:?}");
        }
    }
}
