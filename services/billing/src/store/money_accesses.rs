use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::OperatorId;

/// One question of an operator.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct MoneyAccess {
    /// The record.
    pub access_id: Uuid,
    /// Who asked.
    pub operator_id: OperatorId,
    /// What: `search`, `trace`, `export`, `invoice_buyer`, `delivery`.
    pub action: String,
    /// About what.
    pub subject: String,
    /// When.
    pub accessed_at: DateTime<Utc>,
}

/// Writes a question, before it is answered.
pub async fn insert(tx: &mut PgConnection, access: &MoneyAccess) -> sqlx::Result<()> {
    sqlx::query(
        "insert into money_accesses (access_id, operator_id, action, subject, accessed_at)
         values ($1, $2, $3, $4, $5)",
    )
    .bind(access.access_id)
    .bind(access.operator_id)
    .bind(&access.action)
    .bind(&access.subject)
    .bind(access.accessed_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// Questions, newest first, those before `before`.
pub async fn list(
    tx: &mut PgConnection,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<MoneyAccess>> {
    sqlx::query_as(
        "select * from money_accesses where $1::uuid is null or access_id < $1
         order by access_id desc limit $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await
}
