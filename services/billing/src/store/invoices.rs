use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::{AccountId, OperatorId, OrderId};

use crate::domain::invoice::{Kind, State};

/// A request for a fapiao.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// The request.
    pub invoice_id: Uuid,
    /// Of which order.
    pub order_id: OrderId,
    /// Whose.
    pub account_id: AccountId,
    /// Which kind.
    pub kind: Kind,
    /// In fen.
    pub amount_fen: i64,
    /// How far.
    pub state: State,
    /// The number of the fapiao.
    pub number: Option<String>,
    /// The number of the red one.
    pub red_number: Option<String>,
    /// What stands on it about the buyer, sealed.
    pub buyer_sealed: Vec<u8>,
    /// When it was requested.
    pub requested_at: DateTime<Utc>,
    /// Who decided last.
    pub decided_by: Option<OperatorId>,
    /// When it was issued.
    pub issued_at: Option<DateTime<Utc>>,
    /// When it was over without being issued, or taken back.
    pub ended_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct Row {
    invoice_id: Uuid,
    order_id: OrderId,
    account_id: AccountId,
    kind: String,
    amount_fen: i64,
    state: String,
    number: Option<String>,
    red_number: Option<String>,
    buyer_sealed: Vec<u8>,
    requested_at: DateTime<Utc>,
    decided_by: Option<OperatorId>,
    issued_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Invoice {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            invoice_id: row.invoice_id,
            order_id: row.order_id,
            account_id: row.account_id,
            kind: Kind::from_stored(&row.kind)
                .ok_or_else(|| sqlx::Error::Decode("unknown kind of invoice".into()))?,
            amount_fen: row.amount_fen,
            state: State::from_stored(&row.state)
                .ok_or_else(|| sqlx::Error::Decode("unknown state of an invoice".into()))?,
            number: row.number,
            red_number: row.red_number,
            buyer_sealed: row.buyer_sealed,
            requested_at: row.requested_at,
            decided_by: row.decided_by,
            issued_at: row.issued_at,
            ended_at: row.ended_at,
        })
    }
}

/// Writes a new request. Violates `invoices_at_most_paid_check` when it is too much.
pub async fn insert(tx: &mut PgConnection, invoice: &Invoice) -> sqlx::Result<()> {
    sqlx::query(
        "insert into invoices (invoice_id, order_id, account_id, kind, amount_fen, state,
             buyer_sealed, requested_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(invoice.invoice_id)
    .bind(invoice.order_id)
    .bind(invoice.account_id)
    .bind(invoice.kind.as_str())
    .bind(invoice.amount_fen)
    .bind(invoice.state.as_str())
    .bind(&invoice.buyer_sealed)
    .bind(invoice.requested_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The one with this id.
pub async fn find(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Invoice>> {
    let row: Option<Row> = sqlx::query_as("select * from invoices where invoice_id = $1")
        .bind(id)
        .fetch_optional(tx)
        .await?;
    row.map(TryInto::try_into).transpose()
}

/// Those of an order. Whoever changes one holds the order.
pub async fn of_order(tx: &mut PgConnection, id: OrderId) -> sqlx::Result<Vec<Invoice>> {
    let rows: Vec<Row> =
        sqlx::query_as("select * from invoices where order_id = $1 order by invoice_id")
            .bind(id)
            .fetch_all(tx)
            .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Writes what can change. Violates `invoices_number_key` and `invoices_red_number_key`.
pub async fn save(tx: &mut PgConnection, invoice: &Invoice) -> sqlx::Result<()> {
    sqlx::query(
        "update invoices set state = $2, number = $3, red_number = $4, decided_by = $5,
             issued_at = $6, ended_at = $7
         where invoice_id = $1",
    )
    .bind(invoice.invoice_id)
    .bind(invoice.state.as_str())
    .bind(&invoice.number)
    .bind(&invoice.red_number)
    .bind(invoice.decided_by)
    .bind(invoice.issued_at)
    .bind(invoice.ended_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The account's, newest first, those before `before`.
pub async fn list(
    tx: &mut PgConnection,
    account_id: AccountId,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Invoice>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from invoices where account_id = $1 and ($2::uuid is null or invoice_id < $2)
         order by invoice_id desc limit $3",
    )
    .bind(account_id)
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// What finance has to do, oldest first, those after `after`.
pub async fn open(
    tx: &mut PgConnection,
    after: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Invoice>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from invoices
         where state in ('requested', 'reversal_due') and ($1::uuid is null or invoice_id > $1)
         order by invoice_id limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}
