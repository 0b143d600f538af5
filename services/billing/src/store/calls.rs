use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;
use wanwu_ids::{AccountId, AppId, CallId, KeyId, LeaseId, OrderId};
use wanwu_tariff::{Counts, Unit};

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
    /// What else was counted, by unit.
    pub parts: Json<BTreeMap<Unit, i64>>,
    /// The price list that applied.
    pub price_version: i32,
    /// The tier that applied.
    pub price_tier: i32,
    /// What it cost, in 10^-9 CNY.
    pub amount_nanos: i64,
    /// Where the counts come from.
    pub usage_source: String,
    /// When it was booked.
    pub booked_at: DateTime<Utc>,
}

impl Call {
    /// Everything that was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let number = |count: i64| u64::try_from(count).unwrap_or_default();
        let tokens = Counts::tokens(number(self.input_tokens), number(self.output_tokens));
        let parts = self.parts.iter();
        parts.fold(tokens, |counts, (unit, count)| {
            counts.with(*unit, number(*count))
        })
    }

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

/// Writes the bills of calls; answers those that were not there.
pub async fn insert_all<'a>(
    tx: &mut PgConnection,
    calls: impl Iterator<Item = &'a Call> + Clone,
) -> sqlx::Result<HashSet<CallId>> {
    // One array a column, so that a row too many changes neither the statement nor its plan.
    let inserted: Vec<CallId> = sqlx::query_scalar(
        "insert into calls (call_id, lease_id, account_id, app_id, key_id, model, input_tokens,
             output_tokens, price_version, amount_nanos, usage_source, booked_at, parts, price_tier)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[],
             $6::text[], $7::bigint[], $8::bigint[], $9::integer[], $10::bigint[], $11::text[],
             $12::timestamptz[], $13::jsonb[], $14::integer[])
             as c (call_id, lease_id, account_id, app_id, key_id, model, input_tokens,
                 output_tokens, price_version, amount_nanos, usage_source, booked_at, parts, price_tier)
         -- What accounts spent is summed by a trigger: two batches lock it in one order.
         order by account_id, call_id
         on conflict on constraint calls_pkey do nothing
         returning call_id",
    )
    .bind(column(&calls, |call| call.call_id))
    .bind(column(&calls, |call| call.lease_id))
    .bind(column(&calls, |call| call.account_id))
    .bind(column(&calls, |call| call.app_id))
    .bind(column(&calls, |call| call.key_id))
    .bind(column(&calls, |call| call.model.clone()))
    .bind(column(&calls, |call| call.input_tokens))
    .bind(column(&calls, |call| call.output_tokens))
    .bind(column(&calls, |call| call.price_version))
    .bind(column(&calls, |call| call.amount_nanos))
    .bind(column(&calls, |call| call.usage_source.clone()))
    .bind(column(&calls, |call| call.booked_at))
    .bind(column(&calls, |call| call.parts.clone()))
    .bind(column(&calls, |call| call.price_tier))
    .fetch_all(tx)
    .await?;
    Ok(inserted.into_iter().collect())
}

fn column<'a, T>(
    calls: &(impl Iterator<Item = &'a Call> + Clone),
    of: impl Fn(&Call) -> T,
) -> Vec<T> {
    calls.clone().map(of).collect()
}

/// The bills of these calls, whoever pays them.
pub async fn find_all(tx: &mut PgConnection, ids: &[CallId]) -> sqlx::Result<Vec<Call>> {
    sqlx::query_as("select * from calls where call_id = any ($1)")
        .bind(ids)
        .fetch_all(tx)
        .await
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
