use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::domain::reconciliation::{Difference, Kind, Payment};

/// A difference and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The case.
    pub case_id: Uuid,
    /// Whose bill.
    pub provider: String,
    /// Of which day.
    pub day: NaiveDate,
    /// What differs.
    pub difference: Difference,
    /// When it was found.
    pub opened_at: DateTime<Utc>,
    /// When it was resolved.
    pub resolved_at: Option<DateTime<Utc>>,
    /// How.
    pub resolution: Option<String>,
}

#[derive(FromRow)]
struct Row {
    case_id: Uuid,
    provider: String,
    day: NaiveDate,
    provider_transaction_id: String,
    kind: String,
    billed_fen: i64,
    booked_fen: i64,
    opened_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
    resolution: Option<String>,
}

impl TryFrom<Row> for Case {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let kind = Kind::from_stored(&row.kind)
            .ok_or_else(|| sqlx::Error::Decode("unknown kind of difference".into()))?;
        Ok(Self {
            case_id: row.case_id,
            provider: row.provider,
            day: row.day,
            difference: Difference {
                transaction: row.provider_transaction_id,
                kind,
                billed_fen: row.billed_fen,
                booked_fen: row.booked_fen,
            },
            opened_at: row.opened_at,
            resolved_at: row.resolved_at,
            resolution: row.resolution,
        })
    }
}

/// What we booked of a provider's payments between two instants.
pub async fn booked(
    tx: &mut PgConnection,
    provider: &str,
    (begin, end): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<Vec<Payment>> {
    let rows: Vec<(String, Uuid, i64)> = sqlx::query_as(
        "select provider_transaction_id, order_id, amount_fen from payments
         where provider = $1 and paid_at >= $2 and paid_at < $3",
    )
    .bind(provider)
    .bind(begin)
    .bind(end)
    .fetch_all(tx)
    .await?;
    let payment = |(transaction, order, fen)| Payment {
        transaction,
        order: Some(order),
        fen,
    };
    Ok(rows.into_iter().map(payment).collect())
}

/// Opens a case for each difference that has none; answers how many are new.
pub async fn open(
    tx: &mut PgConnection,
    provider: &str,
    day: NaiveDate,
    differences: &[(Uuid, Difference)],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let (mut ids, mut transactions, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    let (mut billed, mut booked) = (Vec::new(), Vec::new());
    for (id, difference) in differences {
        ids.push(*id);
        transactions.push(difference.transaction.as_str());
        kinds.push(difference.kind.as_str());
        billed.push(difference.billed_fen);
        booked.push(difference.booked_fen);
    }
    let opened = sqlx::query(
        "insert into reconciliation_cases (case_id, provider, day, provider_transaction_id, kind,
             billed_fen, booked_fen, opened_at)
         select id, $1, $2, transaction, kind, billed, booked, $8
         from unnest($3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::bigint[])
             as new (id, transaction, kind, billed, booked)
         on conflict on constraint reconciliation_cases_difference_key do nothing",
    )
    .bind(provider)
    .bind(day)
    .bind(ids)
    .bind(transactions)
    .bind(kinds)
    .bind(billed)
    .bind(booked)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(opened.rows_affected())
}

/// Cases, newest first, those before `before`.
pub async fn list(
    tx: &mut PgConnection,
    open_only: bool,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Case>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from reconciliation_cases
         where (not $1 or resolved_at is null) and ($2::uuid is null or case_id < $2)
         order by case_id desc limit $3",
    )
    .bind(open_only)
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The case with this id, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Case>> {
    let row: Option<Row> =
        sqlx::query_as("select * from reconciliation_cases where case_id = $1 for update")
            .bind(id)
            .fetch_optional(tx)
            .await?;
    row.map(TryInto::try_into).transpose()
}

/// Writes what became of a case.
pub async fn resolve(
    tx: &mut PgConnection,
    id: Uuid,
    operator_id: Uuid,
    resolution: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update reconciliation_cases set resolved_at = $2, resolved_by = $3, resolution = $4
         where case_id = $1",
    )
    .bind(id)
    .bind(now)
    .bind(operator_id)
    .bind(resolution)
    .execute(tx)
    .await?;
    Ok(())
}

/// Cases that nobody resolved.
pub async fn count_open(tx: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from reconciliation_cases where resolved_at is null")
        .fetch_one(tx)
        .await
}
