//! What the calls of an app or of a key may cost.

use chrono::NaiveDate;
use uuid::Uuid;
use wanwu_ids::{AppId, KeyId};

use super::calendar;

/// How long a budget lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A calendar month.
    Month,
    /// For ever, from the day on which it was first set.
    Total,
}

impl Period {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Month, Self::Total]
            .into_iter()
            .find(|period| period.as_str() == text)
    }

    /// The first day whose calls count today.
    #[must_use]
    pub fn first_day(self, set: NaiveDate, today: NaiveDate) -> NaiveDate {
        match self {
            Self::Month => calendar::month(today),
            Self::Total => set,
        }
    }
}

/// Whose calls a budget bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// An app's.
    App(AppId),
    /// A key's.
    Key(KeyId),
}

impl Subject {
    /// For metadata of errors.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::App(_) => "app",
            Self::Key(_) => "key",
        }
    }

    /// The app, if it is one.
    #[must_use]
    pub const fn app_id(self) -> Option<AppId> {
        match self {
            Self::App(id) => Some(id),
            Self::Key(_) => None,
        }
    }

    /// The key, if it is one.
    #[must_use]
    pub const fn key_id(self) -> Option<KeyId> {
        match self {
            Self::Key(id) => Some(id),
            Self::App(_) => None,
        }
    }
}

/// A budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Its number.
    pub budget_id: Uuid,
    /// Whose calls.
    pub subject: Subject,
    /// How much, in 10^-9 CNY.
    pub amount: i64,
    /// In which time.
    pub period: Period,
    /// The first day that counts, of one for ever.
    pub first_day: NaiveDate,
}

/// What is used of a budget, in 10^-9 CNY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// What settled calls cost.
    pub spent: i64,
    /// What leases for it hold.
    pub leased: i64,
}

impl Budget {
    /// What may still be lent; below zero where calls that no lease was bound for cost more.
    #[must_use]
    pub const fn rest(&self, used: Used) -> i64 {
        self.amount
            .saturating_sub(used.spent)
            .saturating_sub(used.leased)
    }

    /// The first day whose calls count today.
    #[must_use]
    pub fn counts_from(&self, today: NaiveDate) -> NaiveDate {
        self.period.first_day(self.first_day, today)
    }
}
