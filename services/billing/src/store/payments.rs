use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use wanwu_ids::OrderId;

use crate::domain::payment::{ProvedPayment, Provider};

/// Writes a payment; `surplus`: it goes back. Violates `payments_order_id_credited_key` when
/// another payment of the order is credited.
pub async fn insert(
    tx: &mut PgConnection,
    payment: &ProvedPayment,
    paid_at: DateTime<Utc>,
    surplus: bool,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into payments
             (provider, provider_transaction_id, order_id, amount_fen, paid_at, surplus)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(payment.provider.as_str())
    .bind(&payment.transaction_id)
    .bind(payment.order_id)
    .bind(payment.amount_fen)
    .bind(paid_at)
    .bind(surplus)
    .execute(tx)
    .await?;
    Ok(())
}

/// The order that a provider's transaction paid.
pub async fn order_of(
    tx: &mut PgConnection,
    provider: Provider,
    transaction_id: &str,
) -> sqlx::Result<Option<OrderId>> {
    sqlx::query_scalar(
        "select order_id from payments where provider = $1 and provider_transaction_id = $2",
    )
    .bind(provider.as_str())
    .bind(transaction_id)
    .fetch_optional(tx)
    .await
}

/// The credited payment of an order: who moved it, its number there, and its fen.
pub async fn credited(
    tx: &mut PgConnection,
    id: OrderId,
) -> sqlx::Result<Option<(Provider, String, i64)>> {
    let row: Option<(String, String, i64)> = sqlx::query_as(
        "select provider, provider_transaction_id, amount_fen from payments
         where order_id = $1 and not surplus",
    )
    .bind(id)
    .fetch_optional(tx)
    .await?;
    row.map(|(provider, transaction_id, fen)| {
        Provider::from_stored(&provider)
            .map(|provider| (provider, transaction_id, fen))
            .ok_or_else(|| sqlx::Error::Decode("unknown provider".into()))
    })
    .transpose()
}
