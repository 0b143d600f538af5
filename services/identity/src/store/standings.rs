use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};
use wanwu_ids::AccountId;
use wanwu_proto::{
    identity::v1::Standing, privacy::v1::PrivacyGate, verification::v1::RealNameGate,
};

#[derive(FromRow)]
struct Row {
    account_id: AccountId,
    version: i64,
    agreements_current: bool,
    core_consent: bool,
    guardian_consent: bool,
    real_name_verified: bool,
    age_band: i16,
    suspended: bool,
    closed: bool,
    changed_at: DateTime<Utc>,
}

impl From<Row> for Standing {
    fn from(row: Row) -> Self {
        Self {
            account_id: row.account_id.to_string(),
            version: row.version.unsigned_abs(),
            agreements_current: row.agreements_current,
            core_consent: row.core_consent,
            real_name_verified: row.real_name_verified,
            age_band: i32::from(row.age_band),
            guardian_consent: row.guardian_consent,
            suspended: row.suspended,
            closed: row.closed,
        }
    }
}

const STANDING: &str = "select account_id, version, agreements_current, core_consent,
            guardian_consent, real_name_verified, age_band, suspended, closed, changed_at
     from standings where account_id = $1";

/// Begins the standing of a new account: nothing is known to be passed.
pub async fn insert(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<()> {
    sqlx::query("insert into standings (account_id) values ($1)")
        .bind(account_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// The standing as it is written down.
pub async fn find(tx: &mut PgConnection, id: AccountId) -> sqlx::Result<Option<Standing>> {
    let row: Option<Row> = sqlx::query_as(STANDING).bind(id).fetch_optional(tx).await?;
    Ok(row.map(Into::into))
}

/// Writes what privacy told, if it is newer than what is written; answers the standing if it is
/// another now.
pub async fn merge_privacy(
    tx: &mut PgConnection,
    account_id: AccountId,
    gate: &PrivacyGate,
) -> sqlx::Result<Option<Standing>> {
    let row: Option<Row> = sqlx::query_as(
        "update standings set
             privacy_version = $2, agreements_current = $3, core_consent = $4,
             guardian_consent = $5, version = version + 1, changed_at = clock_timestamp()
         where account_id = $1 and privacy_version < $2
         returning account_id, version, agreements_current, core_consent, guardian_consent,
             real_name_verified, age_band, suspended, closed, changed_at",
    )
    .bind(account_id)
    .bind(i64::try_from(gate.version).unwrap_or(i64::MAX))
    .bind(gate.agreements_current)
    .bind(gate.core_consent)
    .bind(gate.guardian_consent)
    .fetch_optional(tx)
    .await?;
    Ok(row.map(Into::into))
}

/// Writes what verification told, if it is newer than what is written; answers the standing if it
/// is another now.
pub async fn merge_verification(
    tx: &mut PgConnection,
    account_id: AccountId,
    gate: &RealNameGate,
) -> sqlx::Result<Option<Standing>> {
    let row: Option<Row> = sqlx::query_as(
        "update standings set
             verification_version = $2, real_name_verified = $3, age_band = $4,
             version = version + 1, changed_at = clock_timestamp()
         where account_id = $1 and verification_version < $2
         returning account_id, version, agreements_current, core_consent, guardian_consent,
             real_name_verified, age_band, suspended, closed, changed_at",
    )
    .bind(account_id)
    .bind(i64::try_from(gate.version).unwrap_or(i64::MAX))
    .bind(gate.verified)
    .bind(i16::try_from(gate.age_band).unwrap_or_default())
    .fetch_optional(tx)
    .await?;
    Ok(row.map(Into::into))
}

/// Suspends an account or lifts that; answers its standing, `None` when there is no such account.
pub async fn suspend(
    tx: &mut PgConnection,
    account_id: AccountId,
    suspended: bool,
) -> sqlx::Result<Option<Standing>> {
    let row: Option<Row> = sqlx::query_as(
        "update standings set
             suspended = $2, version = version + 1, changed_at = clock_timestamp()
         where account_id = $1
         returning account_id, version, agreements_current, core_consent, guardian_consent,
             real_name_verified, age_band, suspended, closed, changed_at",
    )
    .bind(account_id)
    .bind(suspended)
    .fetch_optional(tx)
    .await?;
    Ok(row.map(Into::into))
}

/// The standings that changed at or after `since`, with their times, oldest first.
pub async fn changed_since(
    pool: &PgPool,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<(Standing, DateTime<Utc>)>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select account_id, version, agreements_current, core_consent, guardian_consent,
                real_name_verified, age_band, suspended, closed, changed_at
         from standings where changed_at >= $1 order by changed_at limit 10000",
    )
    .bind(since)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.changed_at, row))
        .map(|(at, row)| (row.into(), at))
        .collect())
}
