use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use wanwu_ids::{AccountId, OrderId};

use crate::domain::order::State;

/// A top-up order.
#[derive(Clone, Debug)]
pub struct Order {
    /// The order.
    pub order_id: OrderId,
    /// Who pays and is credited.
    pub account_id: AccountId,
    /// In fen.
    pub amount_fen: i64,
    /// Its state.
    pub state: State,
    /// What the payer scans.
    pub code_url: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Until when it can be paid.
    pub expires_at: DateTime<Utc>,
    /// When it was paid.
    pub paid_at: Option<DateTime<Utc>>,
    /// Before this the provider is not asked.
    pub query_after: DateTime<Utc>,
    /// How often the provider was asked.
    pub queries: u32,
}

#[derive(FromRow)]
struct Row {
    order_id: OrderId,
    account_id: AccountId,
    amount_fen: i64,
    state: String,
    code_url: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    paid_at: Option<DateTime<Utc>>,
    query_after: DateTime<Utc>,
    queries: i32,
}

impl TryFrom<Row> for Order {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            order_id: row.order_id,
            account_id: row.account_id,
            amount_fen: row.amount_fen,
            state: State::from_stored(&row.state)
                .ok_or_else(|| sqlx::Error::Decode("unknown order state".into()))?,
            code_url: row.code_url,
            created_at: row.created_at,
            expires_at: row.expires_at,
            paid_at: row.paid_at,
            query_after: row.query_after,
            queries: row.queries.unsigned_abs(),
        })
    }
}

/// Writes a new order.
pub async fn insert(tx: &mut PgConnection, order: &Order) -> sqlx::Result<()> {
    sqlx::query(
        "insert into orders (order_id, account_id, amount_fen, provider, state, code_url,
             created_at, expires_at, query_after)
         values ($1, $2, $3, 'wechat_native', $4, $5, $6, $7, $8)",
    )
    .bind(order.order_id)
    .bind(order.account_id)
    .bind(order.amount_fen)
    .bind(order.state.as_str())
    .bind(&order.code_url)
    .bind(order.created_at)
    .bind(order.expires_at)
    .bind(order.query_after)
    .execute(tx)
    .await?;
    Ok(())
}

/// The order with this id.
pub async fn find(tx: &mut PgConnection, id: OrderId) -> sqlx::Result<Option<Order>> {
    let row: Option<Row> = sqlx::query_as("select * from orders where order_id = $1")
        .bind(id)
        .fetch_optional(tx)
        .await?;
    row.map(TryInto::try_into).transpose()
}

/// The order with this id, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, id: OrderId) -> sqlx::Result<Option<Order>> {
    let row: Option<Row> = sqlx::query_as("select * from orders where order_id = $1 for update")
        .bind(id)
        .fetch_optional(tx)
        .await?;
    row.map(TryInto::try_into).transpose()
}

/// Writes what can change of an order that the transaction holds.
pub async fn save(tx: &mut PgConnection, order: &Order) -> sqlx::Result<()> {
    sqlx::query(
        "update orders set state = $2, code_url = $3, paid_at = $4, query_after = $5, queries = $6
         where order_id = $1",
    )
    .bind(order.order_id)
    .bind(order.state.as_str())
    .bind(&order.code_url)
    .bind(order.paid_at)
    .bind(order.query_after)
    .bind(i32::try_from(order.queries).unwrap_or(i32::MAX))
    .execute(tx)
    .await?;
    Ok(())
}

/// The account's orders, newest first, those before `before`.
pub async fn list(
    tx: &mut PgConnection,
    account_id: AccountId,
    before: Option<OrderId>,
    limit: i64,
) -> sqlx::Result<Vec<Order>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from orders where account_id = $1 and ($2::uuid is null or order_id < $2)
         order by order_id desc limit $3",
    )
    .bind(account_id)
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Unpaid orders whose provider is to be asked now, oldest first.
pub async fn due(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<OrderId>> {
    sqlx::query_scalar(
        "select order_id from orders
         where state in ('created', 'awaiting_payment') and query_after <= $1
         order by query_after limit $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Writes the payment of an order; violates `payments_pkey` when the provider's transaction paid
/// another order before.
pub async fn insert_payment(
    tx: &mut PgConnection,
    order: &Order,
    provider_transaction_id: &str,
    paid_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into payments (provider, provider_transaction_id, order_id, amount_fen, paid_at)
         values ('wechat', $1, $2, $3, $4)",
    )
    .bind(provider_transaction_id)
    .bind(order.order_id)
    .bind(order.amount_fen)
    .bind(paid_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The provider's transaction that paid an order.
pub async fn payment_of(tx: &mut PgConnection, id: OrderId) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select provider_transaction_id from payments where order_id = $1")
        .bind(id)
        .fetch_optional(tx)
        .await
}

/// How many orders wait, by state.
pub async fn count_unpaid(tx: &mut PgConnection) -> sqlx::Result<[(State, i64); 2]> {
    let (created, awaiting): (i64, i64) = sqlx::query_as(
        "select count(*) filter (where state = 'created'),
                count(*) filter (where state = 'awaiting_payment')
         from orders where state in ('created', 'awaiting_payment')",
    )
    .fetch_one(tx)
    .await?;
    Ok([
        (State::Created, created),
        (State::AwaitingPayment, awaiting),
    ])
}
