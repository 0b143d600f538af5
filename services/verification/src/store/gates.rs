use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection, PgPool};
use wanwu_ids::AccountId;
use wanwu_proto::verification::v1::{AgeBand, RealNameGate};

#[derive(FromRow)]
struct Row {
    account_id: AccountId,
    version: i64,
    verified: bool,
    age_band: i16,
    changed_at: DateTime<Utc>,
}

impl From<Row> for RealNameGate {
    fn from(row: Row) -> Self {
        Self {
            account_id: row.account_id.to_string(),
            version: row.version.unsigned_abs(),
            verified: row.verified,
            age_band: i32::from(row.age_band),
        }
    }
}

/// Writes an account's gate and answers it with its new version. The time is the database's: the
/// feed of changes looks for it.
pub async fn save(
    tx: &mut PgConnection,
    account_id: AccountId,
    verified: bool,
    band: AgeBand,
    banded_on: NaiveDate,
) -> sqlx::Result<RealNameGate> {
    let row: Row = sqlx::query_as(
        "insert into gates as g (account_id, version, verified, age_band, banded_on, changed_at)
         values ($1, 1, $2, $3, $4, clock_timestamp())
         on conflict (account_id) do update set
             version = g.version + 1, verified = $2, age_band = $3, banded_on = $4,
             changed_at = clock_timestamp()
         returning account_id, version, verified, age_band, changed_at",
    )
    .bind(account_id)
    .bind(verified)
    .bind(i16::try_from(i32::from(band)).unwrap_or_default())
    .bind(banded_on)
    .fetch_one(tx)
    .await?;
    Ok(row.into())
}

/// Notes that the band was looked at and is the same.
pub async fn banded(
    tx: &mut PgConnection,
    account_id: AccountId,
    banded_on: NaiveDate,
) -> sqlx::Result<()> {
    sqlx::query("update gates set banded_on = $2 where account_id = $1")
        .bind(account_id)
        .bind(banded_on)
        .execute(tx)
        .await?;
    Ok(())
}

/// The gate of an account; one without any record is not verified.
pub async fn get(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<RealNameGate> {
    let row: Option<Row> = sqlx::query_as(
        "select account_id, version, verified, age_band, changed_at from gates
         where account_id = $1",
    )
    .bind(account_id)
    .fetch_optional(tx)
    .await?;
    Ok(row.map_or_else(
        || RealNameGate {
            account_id: account_id.to_string(),
            ..RealNameGate::default()
        },
        Into::into,
    ))
}

/// The gates that changed at or after `since`, with their times.
pub async fn changed_since(
    pool: &PgPool,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<(RealNameGate, DateTime<Utc>)>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select account_id, version, verified, age_band, changed_at from gates
         where changed_at >= $1 order by changed_at limit 10000",
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

/// Verified people who were not adult when last looked at, before `today`.
pub async fn to_band(
    tx: &mut PgConnection,
    today: NaiveDate,
    limit: i64,
) -> sqlx::Result<Vec<AccountId>> {
    sqlx::query_scalar(
        "select account_id from gates
         where verified and age_band < 4 and banded_on < $1 order by banded_on limit $2",
    )
    .bind(today)
    .bind(limit)
    .fetch_all(tx)
    .await
}
