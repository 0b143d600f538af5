//! Limits are set and read: by their account for its apps and keys, by operators for accounts.

use std::num::NonZeroU64;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use wanwu_ids::{AccountId, OperatorId};

use crate::{
    domain::limits::{Level, Limits, MAX_LIMIT, MAX_RULES, Priority, Rule, Subject},
    error::Error,
    store::limit_rules::{self, KeptRule},
};

/// What holds for one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectLimits {
    /// Whose.
    pub subject: Subject,
    /// The limits and the priority.
    pub rule: Rule,
    /// When they were set; none: they are the platform's.
    pub changed_at: Option<DateTime<Utc>>,
}

/// Limits as a request has them: 0 is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Calls begun in a minute.
    pub requests_per_minute: i64,
    /// Tokens in a minute.
    pub tokens_per_minute: i64,
    /// Calls at the same time.
    pub concurrent_calls: i64,
    /// As the contract numbers it.
    pub priority: i32,
}

impl Asked {
    /// The rule, within its limits.
    pub fn rule(self) -> Result<Rule, Error> {
        let limits = Limits {
            requests_per_minute: limit("limits.requests_per_minute", self.requests_per_minute)?,
            tokens_per_minute: limit("limits.tokens_per_minute", self.tokens_per_minute)?,
            concurrent_calls: limit("limits.concurrent_calls", self.concurrent_calls)?,
        };
        let priority = Priority::from_number(self.priority);
        if priority.is_none() && self.priority != 0 {
            return Err(invalid("limits.priority", "is not known"));
        }
        Ok(Rule { limits, priority })
    }
}

/// Sets the limits of an app or a key of an account.
pub async fn set_limits(
    pool: &PgPool,
    account: AccountId,
    subject: Subject,
    rule: Rule,
) -> Result<SubjectLimits, Error> {
    let mut tx = pool.begin().await?;
    limit_rules::lock_account(&mut tx, account).await?;
    let kept = limit_rules::of_account(&mut *tx, account).await?;
    let others = kept
        .iter()
        .filter(|kept| kept.subject != subject && kept.subject.level != Level::Account);
    if !rule.is_empty() && others.filter(|kept| !kept.rule.is_empty()).count() >= MAX_RULES {
        let problem = format!("{MAX_RULES} apps and keys have limits already");
        return Err(invalid("subject", &problem));
    }
    let kept = limit_rules::set(&mut *tx, account, subject, rule, None).await?;
    tx.commit().await?;
    Ok(kept.into())
}

/// Sets the limits of an account, by an operator.
pub async fn set_account_limits(
    pool: &PgPool,
    operator: OperatorId,
    account: AccountId,
    rule: Rule,
    platform: Limits,
) -> Result<SubjectLimits, Error> {
    let subject = Subject::account(account);
    let kept = limit_rules::set(pool, account, subject, rule, Some(operator)).await?;
    tracing::info!(account.id = %account, operator.id = %operator, "an account's limits were set");
    Ok(effective(kept.into(), platform))
}

/// What holds for an account and its apps and keys, the account first.
pub async fn list_limits(
    pool: &PgPool,
    account: AccountId,
    platform: Limits,
) -> Result<Vec<SubjectLimits>, Error> {
    let own = Subject::account(account);
    let mut kept: Vec<SubjectLimits> = limit_rules::of_account(pool, account)
        .await?
        .into_iter()
        .filter(|kept| !kept.rule.is_empty())
        .map(Into::into)
        .collect();
    if kept.first().is_none_or(|first| first.subject != own) {
        let (rule, changed_at) = (Rule::default(), None);
        kept.insert(
            0,
            SubjectLimits {
                subject: own,
                rule,
                changed_at,
            },
        );
    }
    kept[0] = effective(kept[0], platform);
    Ok(kept)
}

/// An account's limits, with the platform's where it has none.
fn effective(limits: SubjectLimits, platform: Limits) -> SubjectLimits {
    let priority = Some(limits.rule.priority.unwrap_or_default());
    SubjectLimits {
        rule: Rule {
            limits: limits.rule.limits.or(platform),
            priority,
        },
        changed_at: limits.changed_at.filter(|_| !limits.rule.is_empty()),
        ..limits
    }
}

impl From<KeptRule> for SubjectLimits {
    fn from(kept: KeptRule) -> Self {
        Self {
            subject: kept.subject,
            rule: kept.rule,
            changed_at: Some(kept.changed_at),
        }
    }
}

fn limit(field: &'static str, asked: i64) -> Result<Option<NonZeroU64>, Error> {
    u64::try_from(asked)
        .ok()
        .filter(|limit| *limit <= MAX_LIMIT)
        .map(NonZeroU64::new)
        .ok_or_else(|| invalid(field, "must be between 0 and 10^12"))
}

fn invalid(field: &'static str, problem: &str) -> Error {
    Error::InvalidArgument {
        field,
        problem: problem.to_owned(),
    }
}
