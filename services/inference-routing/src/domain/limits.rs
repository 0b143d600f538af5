//! Limits: whose they are, what they bound, and which hold for a call.

use std::{collections::BTreeMap, num::NonZeroU64};

use uuid::Uuid;
use wanwu_ids::{AccountId, AppId, KeyId};

/// Apps and keys of one account that may have limits of their own.
pub const MAX_RULES: usize = 1000;
/// The highest limit.
pub const MAX_LIMIT: u64 = 1_000_000_000_000;

/// What has limits. Its order is the order in which allowances are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Level {
    /// An account.
    Account = 1,
    /// An app.
    App = 2,
    /// A key.
    Key = 3,
}

/// Whose limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// What it is.
    pub level: Level,
    /// Its id.
    pub id: Uuid,
}

/// What a limit bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Quantity {
    /// Calls begun in a minute.
    Requests = 1,
    /// Tokens of prompts and answers in a minute.
    Tokens = 2,
    /// Calls at the same time.
    Calls = 3,
}

/// Whose turn comes sooner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Work that can wait.
    Low,
    /// As everybody.
    #[default]
    Normal,
    /// People are waiting.
    High,
}

/// The limits of one subject; none: it has none of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Calls begun in a minute.
    pub requests_per_minute: Option<NonZeroU64>,
    /// Tokens in a minute.
    pub tokens_per_minute: Option<NonZeroU64>,
    /// Calls at the same time.
    pub concurrent_calls: Option<NonZeroU64>,
}

/// What was set for one subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its limits.
    pub limits: Limits,
    /// Its priority; none: normal.
    pub priority: Option<Priority>,
}

/// What was set for one account: its own and that of its apps and keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountRules(BTreeMap<Subject, Rule>);

/// One limit of one subject that a call must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bound {
    /// Whose.
    pub subject: Subject,
    /// Of what.
    pub quantity: Quantity,
    /// How much, in a minute or at a time.
    pub limit: u64,
}

/// What holds for a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Every limit, in order.
    pub bounds: Vec<Bound>,
    /// The account's priority.
    pub account: Priority,
    /// The key's.
    pub key: Priority,
}

impl Level {
    /// As errors name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::App => "app",
            Self::Key => "key",
        }
    }

    /// As a row has it.
    #[must_use]
    pub const fn from_number(number: i16) -> Option<Self> {
        match number {
            1 => Some(Self::Account),
            2 => Some(Self::App),
            3 => Some(Self::Key),
            _ => None,
        }
    }
}

impl Quantity {
    /// As errors name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_minute",
            Self::Tokens => "tokens_per_minute",
            Self::Calls => "concurrent_calls",
        }
    }
}

impl Priority {
    /// How many times the tokens of the lowest its account is served.
    #[must_use]
    pub const fn share(self) -> u64 {
        match self {
            Self::Low => 1,
            Self::Normal => 4,
            Self::High => 16,
        }
    }

    /// As a row and the contract have it; 0: none.
    #[must_use]
    pub const fn number(priority: Option<Self>) -> i16 {
        match priority {
            None => 0,
            Some(Self::Low) => 1,
            Some(Self::Normal) => 2,
            Some(Self::High) => 3,
        }
    }

    /// From a row or the contract.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Self> {
        match number {
            1 => Some(Self::Low),
            2 => Some(Self::Normal),
            3 => Some(Self::High),
            _ => None,
        }
    }
}

impl Limits {
    fn each(&self) -> impl Iterator<Item = (Quantity, u64)> {
        [
            (Quantity::Requests, self.requests_per_minute),
            (Quantity::Tokens, self.tokens_per_minute),
            (Quantity::Calls, self.concurrent_calls),
        ]
        .into_iter()
        .filter_map(|(quantity, limit)| Some((quantity, limit?.get())))
    }

    /// Each of these, and where it is none the other's.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        const fn first(one: Option<NonZeroU64>, two: Option<NonZeroU64>) -> Option<NonZeroU64> {
            match one {
                Some(one) => Some(one),
                None => two,
            }
        }
        Self {
            requests_per_minute: first(self.requests_per_minute, other.requests_per_minute),
            tokens_per_minute: first(self.tokens_per_minute, other.tokens_per_minute),
            concurrent_calls: first(self.concurrent_calls, other.concurrent_calls),
        }
    }
}

impl Rule {
    /// Nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Subject {
    /// An account.
    #[must_use]
    pub const fn account(id: AccountId) -> Self {
        let (level, id) = (Level::Account, id.uuid());
        Self { level, id }
    }

    /// An app.
    #[must_use]
    pub const fn app(id: AppId) -> Self {
        let (level, id) = (Level::App, id.uuid());
        Self { level, id }
    }

    /// A key.
    #[must_use]
    pub const fn key(id: KeyId) -> Self {
        let (level, id) = (Level::Key, id.uuid());
        Self { level, id }
    }
}

impl AccountRules {
    /// Sets or, where nothing is left of it, forgets a rule.
    pub fn set(&mut self, subject: Subject, rule: Rule) {
        if rule.is_empty() {
            self.0.remove(&subject);
        } else {
            self.0.insert(subject, rule);
        }
    }

    /// Nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn rule(&self, subject: Subject) -> Rule {
        self.0.get(&subject).copied().unwrap_or_default()
    }
}

/// What holds for a call, with the platform's limits where an account has none of its own.
#[must_use]
pub fn holding(
    rules: Option<&AccountRules>,
    platform: Limits,
    (account, app, key): (AccountId, AppId, KeyId),
) -> Holding {
    let rule = |subject| rules.map(|rules| rules.rule(subject)).unwrap_or_default();
    let (of_account, of_key) = (rule(Subject::account(account)), rule(Subject::key(key)));
    let limits = [
        (Subject::account(account), of_account.limits.or(platform)),
        (Subject::app(app), rule(Subject::app(app)).limits),
        (Subject::key(key), of_key.limits),
    ];
    let bounds = limits.into_iter().flat_map(|(subject, limits)| {
        let each: Vec<_> = limits.each().collect();
        each.into_iter().map(move |(quantity, limit)| Bound {
            subject,
            quantity,
            limit,
        })
    });
    Holding {
        bounds: bounds.collect(),
        account: of_account.priority.unwrap_or_default(),
        key: of_key.priority.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id<K>(n: u128) -> wanwu_ids::Id<K> {
        wanwu_ids::Id::from_uuid(Uuid::from_u128(n))
    }

    fn limits(requests: u64, tokens: u64, calls: u64) -> Limits {
        Limits {
            requests_per_minute: NonZeroU64::new(requests),
            tokens_per_minute: NonZeroU64::new(tokens),
            concurrent_calls: NonZeroU64::new(calls),
        }
    }

    #[test]
    fn the_platforms_limits_hold_where_the_account_has_none() {
        let mut rules = AccountRules::default();
        let account = Subject::account(id(1));
        rules.set(
            account,
            Rule {
                limits: limits(0, 7, 0),
                priority: Some(Priority::High),
            },
        );
        rules.set(
            Subject::key(id(3)),
            Rule {
                limits: limits(5, 0, 0),
                priority: None,
            },
        );
        let holding = holding(Some(&rules), limits(100, 100, 0), (id(1), id(2), id(3)));
        let found: Vec<_> = holding
            .bounds
            .iter()
            .map(|b| (b.subject.level, b.quantity, b.limit))
            .collect();
        assert_eq!(
            found,
            [
                (Level::Account, Quantity::Requests, 100),
                (Level::Account, Quantity::Tokens, 7),
                (Level::Key, Quantity::Requests, 5),
            ]
        );
        assert_eq!(
            (holding.account, holding.key),
            (Priority::High, Priority::Normal)
        );
        assert!(holding.bounds.is_sorted());
    }

    #[test]
    fn an_account_without_rules_and_a_platform_without_limits_are_not_bounded() {
        let holding = holding(None, Limits::default(), (id(1), id(2), id(3)));
        assert!(holding.bounds.is_empty());
    }
}
