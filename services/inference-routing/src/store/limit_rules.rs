//! Table `limit_rules`: what was set for accounts, apps and keys.

use std::num::NonZeroU64;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;
use wanwu_ids::{AccountId, OperatorId};

use crate::domain::limits::{Level, Limits, Priority, Rule, Subject};

/// A rule as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptRule {
    /// The account.
    pub account: AccountId,
    /// Whose limits.
    pub subject: Subject,
    /// The limits.
    pub rule: Rule,
    /// When they were set.
    pub changed_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    account_id: AccountId,
    level: i16,
    subject_id: Uuid,
    requests_per_minute: i64,
    tokens_per_minute: i64,
    concurrent_calls: i64,
    priority: i16,
    changed_at: DateTime<Utc>,
}

/// Sets a rule in place of the one before.
pub async fn set(
    database: impl PgExecutor<'_>,
    account: AccountId,
    subject: Subject,
    rule: Rule,
    operator: Option<OperatorId>,
) -> Result<KeptRule, sqlx::Error> {
    let number = |limit: Option<NonZeroU64>| limit.map_or(0, |limit| limit.get().cast_signed());
    let row: Row = sqlx::query_as(
        "insert into limit_rules as r (account_id, level, subject_id, requests_per_minute,
             tokens_per_minute, concurrent_calls, priority, operator_id, changed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp())
         on conflict on constraint limit_rules_pkey do update set
             requests_per_minute = excluded.requests_per_minute,
             tokens_per_minute = excluded.tokens_per_minute,
             concurrent_calls = excluded.concurrent_calls, priority = excluded.priority,
             operator_id = excluded.operator_id, changed_at = excluded.changed_at
         returning account_id, level, subject_id, requests_per_minute, tokens_per_minute,
             concurrent_calls, priority, changed_at",
    )
    .bind(account)
    .bind(subject.level as i16)
    .bind(subject.id)
    .bind(number(rule.limits.requests_per_minute))
    .bind(number(rule.limits.tokens_per_minute))
    .bind(number(rule.limits.concurrent_calls))
    .bind(Priority::number(rule.priority))
    .bind(operator)
    .fetch_one(database)
    .await?;
    kept(row).ok_or(sqlx::Error::RowNotFound)
}

/// Lets one at a time change the rules of an account, until the transaction ends.
pub async fn lock_account(tx: &mut PgConnection, account: AccountId) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1::text, 0))")
        .bind(account.uuid())
        .execute(tx)
        .await?;
    Ok(())
}

/// Every rule of an account, the account's own first.
pub async fn of_account(
    database: impl PgExecutor<'_>,
    account: AccountId,
) -> Result<Vec<KeptRule>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select account_id, level, subject_id, requests_per_minute, tokens_per_minute,
             concurrent_calls, priority, changed_at
         from limit_rules where account_id = $1 order by level, subject_id",
    )
    .bind(account)
    .fetch_all(database)
    .await?;
    Ok(rows.into_iter().filter_map(kept).collect())
}

/// Rules that changed at or after an instant, oldest first, and what the time is.
pub async fn changed_since(
    database: impl PgExecutor<'_>,
    since: DateTime<Utc>,
) -> Result<Vec<KeptRule>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select account_id, level, subject_id, requests_per_minute, tokens_per_minute,
             concurrent_calls, priority, changed_at
         from limit_rules where changed_at >= $1 order by changed_at",
    )
    .bind(since)
    .fetch_all(database)
    .await?;
    Ok(rows.into_iter().filter_map(kept).collect())
}

fn kept(row: Row) -> Option<KeptRule> {
    let limit = |number: i64| NonZeroU64::new(u64::try_from(number).unwrap_or_default());
    let subject = Subject {
        level: Level::from_number(row.level)?,
        id: row.subject_id,
    };
    let limits = Limits {
        requests_per_minute: limit(row.requests_per_minute),
        tokens_per_minute: limit(row.tokens_per_minute),
        concurrent_calls: limit(row.concurrent_calls),
    };
    let priority = Priority::from_number(row.priority.into());
    Some(KeptRule {
        account: row.account_id,
        subject,
        rule: Rule { limits, priority },
        changed_at: row.changed_at,
    })
}
