use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use wanwu_ids::AccountId;

/// What a guardian allows a ward to buy.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Allowance {
    /// The minor.
    pub ward_account_id: AccountId,
    /// Counts from 1 for each ward.
    pub version: i64,
    /// Who said so.
    pub guardian_account_id: AccountId,
    /// The most that one order may cost, in fen.
    pub order_limit_fen: i64,
    /// The most that the orders of a calendar month may cost together, in fen.
    pub month_limit_fen: i64,
    /// Until when.
    pub until: DateTime<Utc>,
}

/// What was said last for the ward. Whoever says something new holds the ward's entries.
pub async fn newest(tx: &mut PgConnection, ward_id: AccountId) -> sqlx::Result<Option<Allowance>> {
    sqlx::query_as(
        "select ward_account_id, version, guardian_account_id, order_limit_fen, month_limit_fen, until
         from purchase_allowances where ward_account_id = $1 order by version desc limit 1",
    )
    .bind(ward_id)
    .fetch_optional(tx)
    .await
}

/// Writes what is said now.
pub async fn insert(
    tx: &mut PgConnection,
    allowance: &Allowance,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into purchase_allowances
             (ward_account_id, version, guardian_account_id, order_limit_fen, month_limit_fen, until,
              recorded_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(allowance.ward_account_id)
    .bind(allowance.version)
    .bind(allowance.guardian_account_id)
    .bind(allowance.order_limit_fen)
    .bind(allowance.month_limit_fen)
    .bind(allowance.until)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}
