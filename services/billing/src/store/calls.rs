use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::{AccountId, AppId, CallId, KeyId, LeaseId, OrderId};

/// The bill of one call.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Call {
    /// The call.
    pub call_id: CallId,
    /// The lease that paid for it.
    pub lease_id: LeaseId,
    /// Who pays.
    pub account_id: AccountId,
    /// The app.
    pub app_id: AppId,
    /// The key.
    pub key_id: KeyId,
    /// The model.
    pub model: String,
    /// Tokens of the prompt.
    pub input_tokens: i64,
    /// Tokens of the answer.
    pub output_tokens: i64,
    /// The price list that applied.
    pub price_version: i32,
    /// What it cost, in 10^-9 CNY.
    pub amount_nanos: i64,
    /// Where the counts come from.
    pub usage_source: String,
    /// When it was booked.
    pub booked_at: DateTime<Utc>,
}

impl Call {
    /// The other is the same bill, told another time.
    #[must_use]
    pub fn is_bill_of(&self, other: &Self) -> bool {
        let booked_at = self.booked_at;
        let other = Self {
            booked_at,
            ..other.clone()
        };
        *self == other
    }
}

/// Writes the bill of a call; `false` when it was there.
pub async fn insert(tx: &mut PgConnection, call: &Call) -> sqlx::Result<bool> {
    let inserted = sqlx::query(
        "insert into calls (call_id, lease_id, account_id, app_id, key_id, model, input_tokens,
             output_tokens, price_version, amount_nanos, usage_source, booked_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict on constraint calls_pkey do nothing",
    )
    .bind(call.call_id)
    .bind(call.lease_id)
    .bind(call.account_id)
    .bind(call.app_id)
    .bind(call.key_id)
    .bind(&call.model)
    .bind(call.input_tokens)
    .bind(call.output_tokens)
    .bind(call.price_version)
    .bind(call.amount_nanos)
    .bind(&call.usage_source)
    .bind(call.booked_at)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// The account's call with this id.
pub async fn find(
    tx: &mut PgConnection,
    account_id: AccountId,
    id: CallId,
) -> sqlx::Result<Option<Call>> {
    sqlx::query_as("select * from calls where call_id = $1 and account_id = $2")
        .bind(id)
        .bind(account_id)
        .fetch_optional(tx)
        .await
}

/// Where a page of a statement goes on: time and id of its last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position(pub DateTime<Utc>, pub Uuid);

/// One line of a statement.
#[derive(Clone, Debug)]
pub enum Line {
    /// A paid order.
    TopUp {
        /// The order.
        order_id: OrderId,
        /// In fen.
        amount_fen: i64,
        /// When it was paid.
        paid_at: DateTime<Utc>,
    },
    /// A bank transfer, credited or (below zero) taken back.
    BankTransfer {
        /// The match.
        bank_match_id: Uuid,
        /// The declaration.
        bank_transfer_id: Uuid,
        /// In fen.
        amount_fen: i64,
        /// When it was credited.
        matched_at: DateTime<Utc>,
    },
    /// A call.
    Call(Call),
}

impl Line {
    /// Its place in the statement.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::TopUp {
                order_id, paid_at, ..
            } => Position(*paid_at, order_id.uuid()),
            Self::BankTransfer {
                bank_match_id,
                matched_at,
                ..
            } => Position(*matched_at, *bank_match_id),
            Self::Call(call) => Position(call.booked_at, call.call_id.uuid()),
        }
    }
}

/// The account's top-ups, bank transfers and calls, newest first, those after `after`.
pub async fn statement(
    tx: &mut PgConnection,
    account_id: AccountId,
    after: Option<Position>,
    limit: i64,
) -> sqlx::Result<Vec<Line>> {
    let (at, id) = after.map(|Position(at, id)| (at, id)).unzip();
    let calls: Vec<Call> = sqlx::query_as(
        "select * from calls
         where account_id = $1 and ($2::timestamptz is null or (booked_at, call_id) < ($2, $3))
         order by booked_at desc, call_id desc limit $4",
    )
    .bind(account_id)
    .bind(at)
    .bind(id)
    .bind(limit)
    .fetch_all(&mut *tx)
    .await?;
    let top_ups: Vec<(OrderId, i64, DateTime<Utc>)> = sqlx::query_as(
        "select order_id, amount_fen, paid_at from orders
         where account_id = $1 and state = 'paid'
           and not exists (select from order_items i where i.order_id = orders.order_id)
           and ($2::timestamptz is null or (paid_at, order_id) < ($2, $3))
         order by paid_at desc, order_id desc limit $4",
    )
    .bind(account_id)
    .bind(at)
    .bind(id)
    .bind(limit)
    .fetch_all(&mut *tx)
    .await?;
    let transfers: Vec<(Uuid, Uuid, i64, DateTime<Utc>)> = sqlx::query_as(
        "select bank_match_id, bank_transfer_id, amount_fen, matched_at from bank_matches
         where account_id = $1
           and ($2::timestamptz is null or (matched_at, bank_match_id) < ($2, $3))
         order by matched_at desc, bank_match_id desc limit $4",
    )
    .bind(account_id)
    .bind(at)
    .bind(id)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    let mut lines: Vec<Line> = calls.into_iter().map(Line::Call).collect();
    lines.extend(
        top_ups
            .into_iter()
            .map(|(order_id, amount_fen, paid_at)| Line::TopUp {
                order_id,
                amount_fen,
                paid_at,
            }),
    );
    lines.extend(transfers.into_iter().map(
        |(bank_match_id, bank_transfer_id, amount_fen, matched_at)| Line::BankTransfer {
            bank_match_id,
            bank_transfer_id,
            amount_fen,
            matched_at,
        },
    ));
    lines.sort_by_key(|line| {
        let Position(at, id) = line.position();
        std::cmp::Reverse((at, id))
    });
    lines.truncate(usize::try_from(limit).unwrap_or_default());
    Ok(lines)
}
