use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::{AccountId, OrderId};

/// Something of an order goes to a provider: names of fields, never their content.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct PaymentShare {
    /// The record.
    pub share_id: Uuid,
    /// Of which order.
    pub order_id: OrderId,
    /// Whose.
    pub account_id: AccountId,
    /// Who receives it.
    pub recipient: String,
    /// What for.
    pub purpose: String,
    /// What it is.
    pub fields: Vec<String>,
    /// When.
    pub shared_at: DateTime<Utc>,
}

/// Writes a record, in the transaction after which it may be sent.
pub async fn insert(tx: &mut PgConnection, share: &PaymentShare) -> sqlx::Result<()> {
    sqlx::query(
        "insert into payment_shares
             (share_id, order_id, account_id, recipient, purpose, fields, shared_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(share.share_id)
    .bind(share.order_id)
    .bind(share.account_id)
    .bind(&share.recipient)
    .bind(&share.purpose)
    .bind(&share.fields)
    .bind(share.shared_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The newest records of an order, oldest first.
pub async fn of_order(
    tx: &mut PgConnection,
    id: OrderId,
    limit: i64,
) -> sqlx::Result<Vec<PaymentShare>> {
    let mut newest: Vec<PaymentShare> = sqlx::query_as(
        "select * from payment_shares where order_id = $1 order by share_id desc limit $2",
    )
    .bind(id)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    newest.reverse();
    Ok(newest)
}
