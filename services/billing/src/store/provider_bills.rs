use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};

use crate::domain::payment::Provider;

/// The bill of a day and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderBill {
    /// Whose.
    pub provider: Provider,
    /// Of which day in China.
    pub day: NaiveDate,
    /// How often the provider was asked.
    pub tries: i32,
    /// When it was compared.
    pub compared_at: Option<DateTime<Utc>>,
    /// Payments in it.
    pub lines: i64,
    /// Of these, those that agree.
    pub agreed: i64,
    /// Differences that were found.
    pub differences: i64,
}

/// Where a page of the list goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position(pub NaiveDate, pub String);

#[derive(FromRow)]
struct Row {
    provider: String,
    day: NaiveDate,
    tries: i32,
    compared_at: Option<DateTime<Utc>>,
    lines: i64,
    agreed: i64,
    differences: i64,
}

impl TryFrom<Row> for ProviderBill {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            provider: Provider::from_stored(&row.provider)
                .ok_or_else(|| sqlx::Error::Decode("unknown provider".into()))?,
            day: row.day,
            tries: row.tries,
            compared_at: row.compared_at,
            lines: row.lines,
            agreed: row.agreed,
            differences: row.differences,
        })
    }
}

/// The first day that is known of a provider, and when its first payment was.
pub async fn first(
    tx: &mut PgConnection,
    provider: Provider,
) -> sqlx::Result<(Option<NaiveDate>, Option<DateTime<Utc>>)> {
    sqlx::query_as(
        "select (select min(day) from provider_bills where provider = $1),
                (select min(paid_at) from payments where provider = $1)",
    )
    .bind(provider.as_str())
    .fetch_one(tx)
    .await
}

/// Days whose bills are to be fetched from now on; those that are known stay.
pub async fn expect(
    tx: &mut PgConnection,
    provider: Provider,
    days: &[NaiveDate],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into provider_bills (provider, day, next_try_at)
         select $1, day, $3 from unnest($2::date[]) as new (day)
         on conflict on constraint provider_bills_pkey do nothing",
    )
    .bind(provider.as_str())
    .bind(days)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Bills that are to be fetched now, oldest first.
pub async fn due(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<ProviderBill>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from provider_bills where compared_at is null and next_try_at <= $1
         order by day, provider limit $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Counts a try before it is made; `false`: another process does it.
pub async fn start(
    tx: &mut PgConnection,
    bill: &ProviderBill,
    next_try_at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let started = sqlx::query(
        "update provider_bills set tries = tries + 1, next_try_at = $4
         where provider = $1 and day = $2 and tries = $3 and compared_at is null",
    )
    .bind(bill.provider.as_str())
    .bind(bill.day)
    .bind(bill.tries)
    .bind(next_try_at)
    .execute(tx)
    .await?;
    Ok(started.rows_affected() == 1)
}

/// Writes what came of a bill.
pub async fn finish(
    tx: &mut PgConnection,
    bill: &ProviderBill,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into provider_bills as b
             (provider, day, tries, next_try_at, compared_at, lines, agreed, differences)
         values ($1, $2, 1, $3, $3, $4, $5, $6)
         on conflict on constraint provider_bills_pkey do update
             set compared_at = $3, lines = $4, agreed = $5, differences = $6",
    )
    .bind(bill.provider.as_str())
    .bind(bill.day)
    .bind(now)
    .bind(bill.lines)
    .bind(bill.agreed)
    .bind(bill.differences)
    .execute(tx)
    .await?;
    Ok(())
}

/// Bills, newest first, those before `before`.
pub async fn list(
    tx: &mut PgConnection,
    before: Option<&Position>,
    limit: i64,
) -> sqlx::Result<Vec<ProviderBill>> {
    let (day, provider) = before
        .map(|Position(day, who)| (*day, who.as_str()))
        .unzip();
    let rows: Vec<Row> = sqlx::query_as(
        "select * from provider_bills where $1::date is null or (day, provider) < ($1, $2)
         order by day desc, provider desc limit $3",
    )
    .bind(day)
    .bind(provider)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Days that ended before `day` and whose bills are not compared yet.
pub async fn count_open(tx: &mut PgConnection, day: NaiveDate) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from provider_bills where compared_at is null and day < $1")
        .bind(day)
        .fetch_one(tx)
        .await
}
