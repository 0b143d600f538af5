use chrono::{DateTime, Duration, Utc};
use sqlx::{FromRow, PgConnection, types::Json};
use wanwu_ids::{AccountId, OrderId};

use super::agreements::PinnedAgreement;
use crate::domain::{order::State, payment::Provider, payment_channel::Method};

/// A top-up order.
#[derive(Clone, Debug)]
pub struct Order {
    /// The order.
    pub order_id: OrderId,
    /// Who pays and is credited.
    pub account_id: AccountId,
    /// In fen.
    pub amount_fen: i64,
    /// Where it was offered first.
    pub method: Method,
    /// Its state.
    pub state: State,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Until when it can be paid.
    pub expires_at: DateTime<Utc>,
    /// When it was paid.
    pub paid_at: Option<DateTime<Utc>>,
    /// The package that is bought; `None`: credit.
    pub package_product: Option<String>,
    /// The price list in force when it was made; none: it is older than that is kept.
    pub price_version: Option<i32>,
    /// The versions of the agreements in force when it was made.
    pub agreements: Vec<PinnedAgreement>,
    /// The version of the product's own terms that was accepted with it; `None`: it is no product's.
    pub addendum: Option<String>,
    /// Which word of the guardian covered it; `None`: an adult's order.
    pub allowance_version: Option<i64>,
    /// The payment that was credited.
    pub payment: Option<CreditedPayment>,
}

/// The payment that an order was credited with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditedPayment {
    /// Who moved the money.
    pub provider: Provider,
    /// Its number there.
    pub transaction_id: String,
    /// In fen.
    pub amount_fen: i64,
    /// When, by the provider.
    pub paid_at: DateTime<Utc>,
}

/// Orders with their credited payment, of which there is one at most.
macro_rules! select {
    ($which:literal $(,)?) => {
        concat!(
            "select o.*, p.provider as payment_provider, p.provider_transaction_id as payment_number,
                 p.amount_fen as payment_fen, p.paid_at as payment_at, i.addendum
             from orders o left join payments p on p.order_id = o.order_id and not p.surplus
                 left join order_items i on i.order_id = o.order_id ",
            $which
        )
    };
}

#[derive(FromRow)]
struct Row {
    order_id: OrderId,
    account_id: AccountId,
    amount_fen: i64,
    provider: String,
    state: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    paid_at: Option<DateTime<Utc>>,
    package_product: Option<String>,
    price_version: Option<i32>,
    agreements: Json<Vec<PinnedAgreement>>,
    addendum: Option<String>,
    allowance_version: Option<i64>,
    payment_provider: Option<String>,
    payment_number: Option<String>,
    payment_fen: Option<i64>,
    payment_at: Option<DateTime<Utc>>,
}

impl Row {
    fn payment(&self) -> sqlx::Result<Option<CreditedPayment>> {
        let Some(provider) = &self.payment_provider else {
            return Ok(None);
        };
        let provider = Provider::from_stored(provider)
            .ok_or_else(|| sqlx::Error::Decode("unknown provider".into()))?;
        let number = self.payment_number.clone();
        let rest = number.zip(self.payment_fen).zip(self.payment_at);
        Ok(
            rest.map(|((transaction_id, amount_fen), paid_at)| CreditedPayment {
                provider,
                transaction_id,
                amount_fen,
                paid_at,
            }),
        )
    }
}

impl TryFrom<Row> for Order {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let payment = row.payment()?;
        Ok(Self {
            order_id: row.order_id,
            account_id: row.account_id,
            amount_fen: row.amount_fen,
            method: Method::from_stored(&row.provider)
                .ok_or_else(|| sqlx::Error::Decode("unknown payment method".into()))?,
            state: State::from_stored(&row.state)
                .ok_or_else(|| sqlx::Error::Decode("unknown order state".into()))?,
            created_at: row.created_at,
            expires_at: row.expires_at,
            paid_at: row.paid_at,
            package_product: row.package_product,
            price_version: row.price_version,
            agreements: row.agreements.0,
            addendum: row.addendum,
            allowance_version: row.allowance_version,
            payment,
        })
    }
}

/// Writes a new order.
pub async fn insert(tx: &mut PgConnection, order: &Order) -> sqlx::Result<()> {
    // Channels say when a provider is asked. The version before looks at orders: it is kept away
    // from those that it knows too little of.
    let never = order.created_at + Duration::days(36_500);
    sqlx::query(
        "insert into orders (order_id, account_id, amount_fen, provider, state, created_at,
             expires_at, query_after, package_product, price_version, agreements, allowance_version)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(order.order_id)
    .bind(order.account_id)
    .bind(order.amount_fen)
    .bind(order.method.as_str())
    .bind(order.state.as_str())
    .bind(order.created_at)
    .bind(order.expires_at)
    .bind(never)
    .bind(&order.package_product)
    .bind(order.price_version)
    .bind(Json(&order.agreements))
    .bind(order.allowance_version)
    .execute(tx)
    .await?;
    Ok(())
}

/// The order with this id.
pub async fn find(tx: &mut PgConnection, id: OrderId) -> sqlx::Result<Option<Order>> {
    let row: Option<Row> = sqlx::query_as(select!("where o.order_id = $1"))
        .bind(id)
        .fetch_optional(tx)
        .await?;
    row.map(TryInto::try_into).transpose()
}

/// The order with this id, locked until the transaction ends. Whoever changes its channels,
/// payments or refunds holds it.
pub async fn lock(tx: &mut PgConnection, id: OrderId) -> sqlx::Result<Option<Order>> {
    sqlx::query("select 1 from orders where order_id = $1 for update")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    // Read when it is held: what was joined to a row that is waited for would be from before.
    find(tx, id).await
}

/// Writes what can change of an order that the transaction holds.
pub async fn save(tx: &mut PgConnection, order: &Order) -> sqlx::Result<()> {
    sqlx::query("update orders set state = $2, paid_at = $3 where order_id = $1")
        .bind(order.order_id)
        .bind(order.state.as_str())
        .bind(order.paid_at)
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
    let rows: Vec<Row> = sqlx::query_as(select!(
        "where o.account_id = $1 and ($2::uuid is null or o.order_id < $2)
         order by o.order_id desc limit $3",
    ))
    .bind(account_id)
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// How many orders wait, by state.
pub async fn count_unpaid(tx: &mut PgConnection) -> sqlx::Result<[(State, i64); 3]> {
    let (created, awaiting, cancelling): (i64, i64, i64) = sqlx::query_as(
        "select count(*) filter (where state = 'created'),
                count(*) filter (where state = 'awaiting_payment'),
                count(*) filter (where state = 'cancelling')
         from orders where state in ('created', 'awaiting_payment', 'cancelling')",
    )
    .fetch_one(tx)
    .await?;
    Ok([
        (State::Created, created),
        (State::AwaitingPayment, awaiting),
        (State::Cancelling, cancelling),
    ])
}
