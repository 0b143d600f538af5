//! Where a name goes that calls ask for.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wanwu_ids::AccountId;

/// Routes at most.
pub const MAX_ROUTES: usize = 1000;
const MAX_NAME_CHARS: usize = 128;
const MAX_TARGETS: usize = 16;
const MAX_FALLBACKS: usize = 8;
const MAX_ACCOUNTS: usize = 1000;
const MAX_WEIGHT: u32 = 1_000_000;

/// One route, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// What calls ask for.
    pub name: String,
    /// Models by weight; the first one's prices are charged.
    pub targets: Vec<Target>,
    /// Models that are asked when no engine of the one before answers.
    #[serde(default)]
    pub fallbacks: Vec<String>,
    /// A model that gets copies.
    #[serde(default)]
    pub mirror: Option<Mirror>,
    /// For whom the name exists; empty: everybody.
    #[serde(default)]
    pub allowed: Vec<Uuid>,
    /// From then answers say so.
    #[serde(default)]
    pub deprecated_at: Option<DateTime<Utc>>,
    /// From then it is refused.
    #[serde(default)]
    pub ends_at: Option<DateTime<Utc>>,
}

/// A model with a weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The model.
    pub model: String,
    /// Its weight.
    pub weight: u32,
}

/// A model that gets copies of some calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// The model.
    pub model: String,
    /// How many of 1,000 calls.
    pub per_mille: u32,
}

/// What is wrong with a route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidRoute {
    /// The field of the contract.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// What clients are told of a route's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// Deprecated since or from then.
    pub deprecated_at: Option<DateTime<Utc>>,
    /// Refused from then.
    pub ends_at: Option<DateTime<Utc>>,
}

impl Route {
    /// Checks a route against the models that there are.
    pub fn check(&self, is_known: impl Fn(&str) -> bool) -> Result<(), InvalidRoute> {
        let known = |field, model: &str| {
            ensure(is_known(model), field, || {
                format!("there is no model {model}")
            })
        };
        let length = self.name.chars().count();
        let named =
            (1..=MAX_NAME_CHARS).contains(&length) && !self.name.chars().any(char::is_control);
        ensure(named, "route.name", || {
            format!("must have 1 to {MAX_NAME_CHARS} characters")
        })?;
        let some = (1..=MAX_TARGETS).contains(&self.targets.len());
        ensure(some, "route.targets", || {
            format!("must be 1 to {MAX_TARGETS} models")
        })?;
        for (at, target) in self.targets.iter().enumerate() {
            known("route.targets.model", &target.model)?;
            let weighs = (1..=MAX_WEIGHT).contains(&target.weight);
            ensure(weighs, "route.targets.weight", || {
                format!("must be between 1 and {MAX_WEIGHT}")
            })?;
            let twice = self.targets[..at].iter().any(|t| t.model == target.model);
            ensure(!twice, "route.targets.model", || {
                format!("{} is there twice", target.model)
            })?;
        }
        ensure(
            self.fallbacks.len() <= MAX_FALLBACKS,
            "route.fallbacks",
            || format!("are at most {MAX_FALLBACKS}"),
        )?;
        for model in &self.fallbacks {
            known("route.fallbacks", model)?;
        }
        if let Some(mirror) = &self.mirror {
            known("route.mirror.model", &mirror.model)?;
            let share = (1..=1000).contains(&mirror.per_mille);
            ensure(share, "route.mirror.per_mille", || {
                "must be between 1 and 1000".to_owned()
            })?;
        }
        ensure(
            self.allowed.len() <= MAX_ACCOUNTS,
            "route.allowed_account_ids",
            || format!("are at most {MAX_ACCOUNTS}"),
        )?;
        let ordered = match (self.deprecated_at, self.ends_at) {
            (Some(deprecated), Some(ends)) => deprecated <= ends,
            _ => true,
        };
        ensure(ordered, "route.end_time", || {
            "must not be before deprecation_time".to_owned()
        })
    }

    /// The name exists for this account.
    #[must_use]
    pub fn is_for(&self, account: AccountId) -> bool {
        self.allowed.is_empty() || self.allowed.contains(&account.uuid())
    }

    /// Its time is over.
    #[must_use]
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }

    /// What its clients are told.
    #[must_use]
    pub const fn notice(&self) -> Notice {
        Notice {
            deprecated_at: self.deprecated_at,
            ends_at: self.ends_at,
        }
    }

    /// The model of a call, by evenly spread chance.
    #[must_use]
    pub fn target(&self, chance: u64) -> &str {
        let sum: u64 = self.targets.iter().map(|t| u64::from(t.weight)).sum();
        let mut left = chance % sum.max(1);
        for target in &self.targets {
            let weight = u64::from(target.weight);
            if left < weight {
                return &target.model;
            }
            left -= weight;
        }
        self.targets.first().map_or("", |first| &first.model)
    }

    /// The model that gets a copy of a call, by evenly spread chance.
    #[must_use]
    pub fn copied_to(&self, chance: u64) -> Option<&str> {
        let mirror = self.mirror.as_ref()?;
        (chance % 1000 < u64::from(mirror.per_mille)).then_some(mirror.model.as_str())
    }
}

fn ensure(
    holds: bool,
    field: &'static str,
    problem: impl FnOnce() -> String,
) -> Result<(), InvalidRoute> {
    if holds {
        return Ok(());
    }
    Err(InvalidRoute {
        field,
        problem: problem(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        let target = |model: &str, weight| Target {
            model: model.to_owned(),
            weight,
        };
        Route {
            name: "fast".to_owned(),
            targets: vec![target("a", 95), target("b", 5)],
            fallbacks: vec!["c".to_owned()],
            mirror: Some(Mirror {
                model: "b".to_owned(),
                per_mille: 10,
            }),
            allowed: Vec::new(),
            deprecated_at: None,
            ends_at: None,
        }
    }

    fn known(model: &str) -> bool {
        ["a", "b", "c"].contains(&model)
    }

    #[test]
    fn shares_are_the_weights() {
        let route = route();
        let count = |model: &str| (0..100_000).filter(|n| route.target(*n) == model).count();
        assert_eq!((count("a"), count("b")), (95_000, 5_000));
        let copies = (0..100_000).filter(|n| route.copied_to(*n).is_some());
        assert_eq!(copies.count(), 1_000);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(route().check(known), Ok(()));
        type Change = fn(&mut Route);
        let cases: [(&str, Change); 9] = [
            ("route.name", |r| r.name.clear()),
            ("route.targets", |r| r.targets.clear()),
            ("route.targets.model", |r| {
                r.targets[1].model = "x".to_owned()
            }),
            ("route.targets.model", |r| {
                r.targets[1].model = "a".to_owned()
            }),
            ("route.targets.weight", |r| r.targets[0].weight = 0),
            ("route.fallbacks", |r| r.fallbacks = vec!["a".to_owned(); 9]),
            ("route.mirror.per_mille", |r| {
                r.mirror.as_mut().unwrap().per_mille = 1001;
            }),
            ("route.allowed_account_ids", |r| {
                r.allowed = vec![Uuid::nil(); 1001];
            }),
            ("route.end_time", |r| {
                r.ends_at = Some(DateTime::<Utc>::UNIX_EPOCH);
                r.deprecated_at = Some(DateTime::<Utc>::UNIX_EPOCH + chrono::TimeDelta::days(1));
            }),
        ];
        for (field, change) in cases {
            let mut route = route();
            change(&mut route);
            assert_eq!(route.check(known).unwrap_err().field, field);
        }
    }

    #[test]
    fn a_route_ends_at_its_instant() {
        let mut route = route();
        let end = DateTime::<Utc>::UNIX_EPOCH;
        route.ends_at = Some(end);
        assert!(route.is_over(end));
        assert!(!route.is_over(end - chrono::TimeDelta::nanoseconds(1)));
    }
}
