use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;
use wanwu_ids::OperatorId;

/// Writes down what an operator did, in the transaction that does it.
pub async fn record(
    tx: &mut PgConnection,
    action_id: Uuid,
    operator_id: OperatorId,
    action: &str,
    object_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into operator_actions (action_id, operator_id, action, object_id, acted_at)
         values ($1, $2, $3, $4, $5)",
    )
    .bind(action_id)
    .bind(operator_id)
    .bind(action)
    .bind(object_id)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}
