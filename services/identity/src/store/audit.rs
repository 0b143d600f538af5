use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::OperatorId;

/// One action of an operator.
#[derive(Clone, Debug, FromRow)]
pub struct Entry {
    /// The entry.
    pub entry_id: Uuid,
    /// Who.
    pub operator_id: OperatorId,
    /// What was done.
    pub action: String,
    /// To what.
    pub object_id: Uuid,
    /// Why.
    pub reason_code: String,
    /// When.
    pub acted_at: DateTime<Utc>,
}

/// Writes an entry, in the transaction of the action.
pub async fn insert(tx: &mut PgConnection, entry: &Entry) -> sqlx::Result<()> {
    sqlx::query(
        "insert into audit_entries
             (entry_id, operator_id, action, object_id, reason_code, acted_at)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(entry.entry_id)
    .bind(entry.operator_id)
    .bind(&entry.action)
    .bind(entry.object_id)
    .bind(&entry.reason_code)
    .bind(entry.acted_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The entries, newest first, those before `before`.
pub async fn list(
    tx: &mut PgConnection,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as(
        "select * from audit_entries where $1::uuid is null or entry_id < $1
         order by entry_id desc limit $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await
}
