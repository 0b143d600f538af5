use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};
use wanwu_ids::AccountId;

use crate::domain::gate::{self, Gate};

#[derive(FromRow)]
struct Row {
    account_id: AccountId,
    account_changes: i64,
    versions_in_force: i64,
    agreements_current: bool,
    core_consent: bool,
    guardian_consent: bool,
}

impl From<Row> for Gate {
    fn from(row: Row) -> Self {
        Self {
            account_id: row.account_id,
            version: gate::version(
                row.versions_in_force.unsigned_abs(),
                row.account_changes.unsigned_abs(),
            ),
            agreements_current: row.agreements_current,
            core_consent: row.core_consent,
            guardian_consent: row.guardian_consent,
        }
    }
}

/// What of an account's part of its standing can change by its own entries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// The consent to the core processing was given or withdrawn.
    pub core_consent: Option<bool>,
    /// A guardian's consent was given or withdrawn.
    pub guardian_consent: Option<bool>,
}

/// Writes down that something of an account's gate changed, also when only its acceptances did.
/// The time is the database's: the feed of changes looks for it.
pub async fn touch(
    tx: &mut PgConnection,
    account_id: AccountId,
    change: Change,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into gates as g (account_id, version, core_consent, guardian_consent, changed_at)
         values ($1, 1, coalesce($2, false), coalesce($3, false), clock_timestamp())
         on conflict (account_id) do update set
             version = g.version + 1,
             core_consent = coalesce($2, g.core_consent),
             guardian_consent = coalesce($3, g.guardian_consent),
             changed_at = clock_timestamp()",
    )
    .bind(account_id)
    .bind(change.core_consent)
    .bind(change.guardian_consent)
    .execute(tx)
    .await?;
    Ok(())
}

// One place that says what "current" means: every agreement's version in force is accepted.
const IN_FORCE: &str = "with in_force as (
         select distinct on (agreement) version_id from agreement_versions
         where effective_at <= $2 order by agreement, effective_at desc, number desc)
     select a.account_id,
            coalesce(g.version, 0) as account_changes,
            (select count(*) from agreement_versions where effective_at <= $2) as versions_in_force,
            exists (select from in_force) and not exists (
                select from in_force f where not exists (
                    select from acceptances c
                    where c.account_id = a.account_id and c.version_id = f.version_id)
            ) as agreements_current,
            coalesce(g.core_consent, false) as core_consent,
            coalesce(g.guardian_consent, false) as guardian_consent
     from unnest($1::uuid[]) as a (account_id)
     left join gates g on g.account_id = a.account_id";

/// The gate of an account at an instant; an account without any record passes nothing.
pub async fn get(
    tx: &mut PgConnection,
    account_id: AccountId,
    now: DateTime<Utc>,
) -> sqlx::Result<Gate> {
    let row: Row = sqlx::query_as(IN_FORCE)
        .bind(vec![account_id])
        .bind(now)
        .fetch_one(tx)
        .await?;
    Ok(row.into())
}

/// The gates that changed at or after `since`, as they are at `now`.
pub async fn changed_since(
    pool: &PgPool,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(Gate, DateTime<Utc>)>> {
    let changed: Vec<(AccountId, DateTime<Utc>)> = sqlx::query_as(
        "select account_id, changed_at from gates where changed_at >= $1
         order by changed_at limit 10000",
    )
    .bind(since)
    .fetch_all(pool)
    .await?;
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let accounts: Vec<_> = changed.iter().map(|(account_id, _)| *account_id).collect();
    let rows: Vec<Row> = sqlx::query_as(IN_FORCE)
        .bind(accounts)
        .bind(now)
        .fetch_all(pool)
        .await?;
    let times: std::collections::HashMap<_, _> = changed.into_iter().collect();
    Ok(rows
        .into_iter()
        .map(|row| (times[&row.account_id], row.into()))
        .map(|(t, g)| (g, t))
        .collect())
}
