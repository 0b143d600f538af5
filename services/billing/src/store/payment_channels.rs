use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use wanwu_ids::OrderId;

use crate::domain::{
    payment::Provider,
    payment_channel::{Method, State},
};

/// An order at one provider.
#[derive(Clone, Debug)]
pub struct Channel {
    /// The order.
    pub order_id: OrderId,
    /// How the payer reaches the provider.
    pub method: Method,
    /// Its state.
    pub state: State,
    /// What the payer scans or opens.
    pub code_url: String,
    /// Before this the provider is not asked.
    pub query_after: DateTime<Utc>,
    /// How often the provider was asked.
    pub queries: u32,
    /// When it was offered.
    pub created_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct Row {
    order_id: OrderId,
    method: String,
    state: String,
    code_url: String,
    query_after: DateTime<Utc>,
    queries: i32,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for Channel {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            order_id: row.order_id,
            method: Method::from_stored(&row.method)
                .ok_or_else(|| sqlx::Error::Decode("unknown payment method".into()))?,
            state: State::from_stored(&row.state)
                .ok_or_else(|| sqlx::Error::Decode("unknown channel state".into()))?,
            code_url: row.code_url,
            query_after: row.query_after,
            queries: row.queries.unsigned_abs(),
            created_at: row.created_at,
        })
    }
}

/// Offers an order through a provider. A trigger may have done so just before, for the version
/// that knows no channels.
pub async fn insert(tx: &mut PgConnection, channel: &Channel) -> sqlx::Result<()> {
    sqlx::query(
        "insert into order_channels (order_id, provider, method, state, code_url, query_after, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict on constraint order_channels_pkey do update set query_after = $6",
    )
    .bind(channel.order_id)
    .bind(channel.method.provider().as_str())
    .bind(channel.method.as_str())
    .bind(channel.state.as_str())
    .bind(&channel.code_url)
    .bind(channel.query_after)
    .bind(channel.created_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes what can change of a channel whose order the transaction holds.
pub async fn save(tx: &mut PgConnection, channel: &Channel) -> sqlx::Result<()> {
    sqlx::query(
        "update order_channels set state = $3, code_url = $4, query_after = $5, queries = $6
         where order_id = $1 and provider = $2",
    )
    .bind(channel.order_id)
    .bind(channel.method.provider().as_str())
    .bind(channel.state.as_str())
    .bind(&channel.code_url)
    .bind(channel.query_after)
    .bind(i32::try_from(channel.queries).unwrap_or(i32::MAX))
    .execute(tx)
    .await?;
    Ok(())
}

/// The channels of some orders, each order's oldest first.
pub async fn of_orders(tx: &mut PgConnection, orders: &[OrderId]) -> sqlx::Result<Vec<Channel>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from order_channels where order_id = any($1) order by order_id, created_at, provider",
    )
    .bind(orders)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The other channels of an order that was paid are looked at now, so that they are closed.
pub async fn hurry(tx: &mut PgConnection, id: OrderId, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "update order_channels set query_after = $2
         where order_id = $1 and state in ('created', 'open', 'absent')",
    )
    .bind(id)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Channels whose provider is to be asked now, oldest first.
pub async fn due(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<(OrderId, Provider)>> {
    let rows: Vec<(OrderId, String)> = sqlx::query_as(
        "select order_id, provider from order_channels
         where state in ('created', 'open', 'absent') and query_after <= $1
         order by query_after limit $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.into_iter()
        .map(|(id, provider)| {
            let provider = Provider::from_stored(&provider);
            provider
                .map(|provider| (id, provider))
                .ok_or_else(|| sqlx::Error::Decode("unknown provider".into()))
        })
        .collect()
}
