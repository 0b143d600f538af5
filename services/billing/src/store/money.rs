use std::collections::HashMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::{AccountId, OrderId};

use crate::domain::attribution::{Attribution, Part};

/// A movement that was looked for.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Found {
    /// `order`, `payment`, `refund`, `bank_transfer` or `call`.
    pub kind: String,
    /// Its id.
    pub id: Uuid,
    /// Whose.
    pub account_id: AccountId,
    /// In 10^-9 CNY.
    pub nanos: i64,
    /// Its state, or who moved it.
    pub state: String,
    /// Its number at the provider.
    pub number: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Everything that has this id; a payment has its order's.
pub async fn by_id(tx: &mut PgConnection, id: Uuid, limit: i64) -> sqlx::Result<Vec<Found>> {
    sqlx::query_as(
        "select 'order' as kind, order_id as id, account_id, amount_fen * 10000000 as nanos, state,
                '' as number, created_at as at
         from orders where order_id = $1
         union all
         select 'payment', order_id, account_id, p.amount_fen * 10000000, p.provider,
                provider_transaction_id, p.paid_at
         from payments p join orders using (order_id) where order_id = $1
         union all
         select 'refund', refund_id, account_id, r.amount_fen * 10000000, r.state,
                provider_transaction_id, requested_at
         from refunds r join orders using (order_id) where refund_id = $1 or order_id = $1
         union all
         select 'bank_transfer', bank_transfer_id, account_id, credited_fen * 10000000, '',
                reference, created_at
         from bank_transfers where bank_transfer_id = $1
         union all
         select 'call', call_id, account_id, amount_nanos, usage_source, '', booked_at
         from calls where call_id = $1
         order by at desc limit $2",
    )
    .bind(id)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Payments and refunds of a provider's number, and bank transfers of a reference.
pub async fn by_number(
    tx: &mut PgConnection,
    number: &str,
    limit: i64,
) -> sqlx::Result<Vec<Found>> {
    sqlx::query_as(
        "select 'payment' as kind, order_id as id, account_id, p.amount_fen * 10000000 as nanos,
                p.provider as state, provider_transaction_id as number, p.paid_at as at
         from payments p join orders using (order_id) where provider_transaction_id = $1
         union all
         select 'refund', refund_id, account_id, r.amount_fen * 10000000, r.state,
                provider_transaction_id, requested_at
         from refunds r join orders using (order_id) where provider_transaction_id = $1
         union all
         select 'bank_transfer', bank_transfer_id, account_id, credited_fen * 10000000, '',
                reference, created_at
         from bank_transfers where reference = $1
         order by at desc limit $2",
    )
    .bind(number)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Payments and bank transfers of an amount between two instants.
pub async fn by_amount(
    tx: &mut PgConnection,
    fen: i64,
    (begin, end): (DateTime<Utc>, DateTime<Utc>),
    limit: i64,
) -> sqlx::Result<Vec<Found>> {
    sqlx::query_as(
        "select 'payment' as kind, order_id as id, account_id, p.amount_fen * 10000000 as nanos,
                p.provider as state, provider_transaction_id as number, p.paid_at as at
         from payments p join orders using (order_id)
         where p.amount_fen = $1 and p.paid_at >= $2 and p.paid_at < $3
         union all
         select 'bank_transfer', bank_transfer_id, m.account_id, m.amount_fen * 10000000, '',
                reference, matched_at
         from bank_matches m join bank_transfers using (bank_transfer_id)
         where m.amount_fen = $1 and matched_at >= $2 and matched_at < $3
         order by at desc limit $4",
    )
    .bind(fen)
    .bind(begin)
    .bind(end)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// What money went for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spending {
    /// Why, as the ledger has it: `usage`, `refund_of_credit`, `bank_recall` ...
    pub kind: SpendingKind,
    /// The call, the refund, or what else.
    pub cause_id: Uuid,
    /// What it took in all.
    pub nanos: i64,
    /// The lease of a call.
    pub lease_id: Option<Uuid>,
    /// When it was booked.
    pub booked_at: DateTime<Utc>,
}

/// Why money went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpendingKind {
    /// For a call.
    Call,
    /// Back to its payer.
    Refund,
    /// The bank took it back.
    BankRecall,
    /// For something else.
    Other,
}

impl SpendingKind {
    fn from_stored(kind: &str) -> Self {
        match kind {
            "usage" => Self::Call,
            "refund_of_credit" => Self::Refund,
            "bank_recall" => Self::BankRecall,
            _ => Self::Other,
        }
    }
}

#[derive(FromRow)]
struct Movement {
    kind: String,
    cause_id: Uuid,
    booked_at: DateTime<Utc>,
    nanos: i64,
    lease_id: Option<Uuid>,
    refunded_order: Option<Uuid>,
}

/// Follows all money of an account through its free and its lent credit, in the order of the books;
/// `tell` hears of each part. Lending moves nothing from a lot to another. What a call spent of packages
/// is no lot's: they pay first, as far as its lease has of them.
pub async fn attribute(
    tx: &mut PgConnection,
    account_id: AccountId,
    mut tell: impl FnMut(Part<Spending>),
) -> sqlx::Result<Attribution<Spending>> {
    let mut rows = sqlx::query_as::<_, Movement>(
        "select t.kind, t.cause_id, t.booked_at, e.amount_nanos as nanos,
                coalesce(c.lease_id, p.lease_id) as lease_id, r.order_id as refunded_order
         from ledger_accounts a
         join entries e using (ledger_account_id)
         join transfers t using (transfer_id)
         left join calls c on t.kind = 'usage' and c.call_id = t.cause_id
         left join lease_packages p
             on t.kind in ('package_lease', 'package_return') and p.lease_package_id = t.cause_id
         left join refunds r on t.kind = 'refund_of_credit' and r.refund_id = t.cause_id
         where a.account_id = $1 and a.kind in ('available', 'leased')
           and t.kind not in ('lease', 'lease_return')
         order by t.booked_at, t.transfer_id",
    )
    .bind(account_id)
    .fetch(tx);
    let mut money = Attribution::default();
    let mut of_packages: HashMap<Option<Uuid>, i64> = HashMap::new();
    while let Some(mut row) = rows.try_next().await? {
        let of_packages = of_packages.entry(row.lease_id).or_default();
        match row.kind.as_str() {
            "package_lease" | "package_return" => {
                *of_packages += row.nanos;
                continue;
            }
            "usage" => {
                let paid = (*of_packages).clamp(0, -row.nanos);
                *of_packages -= paid;
                row.nanos += paid;
            }
            _ => {}
        }
        if row.nanos > 0 {
            money.credit(row.cause_id, row.nanos, &mut tell);
            continue;
        }
        let spending = Spending {
            kind: SpendingKind::from_stored(&row.kind),
            cause_id: row.cause_id,
            nanos: -row.nanos,
            lease_id: row.lease_id,
            booked_at: row.booked_at,
        };
        money.spend(spending, -row.nanos, row.refunded_order, &mut tell);
    }
    Ok(money)
}

/// Who made an order that brought credit.
pub async fn account_of_credit(
    tx: &mut PgConnection,
    id: OrderId,
) -> sqlx::Result<Option<AccountId>> {
    sqlx::query_scalar(
        "select o.account_id from orders o
         join transfers t on t.kind = 'top_up' and t.cause_id = o.order_id where o.order_id = $1",
    )
    .bind(id)
    .fetch_optional(tx)
    .await
}

/// An entry of the ledger, as it is exported.
#[derive(Clone, Debug, FromRow)]
pub struct Exported {
    /// When it was booked.
    pub booked_at: DateTime<Utc>,
    /// The transfer.
    pub transfer_id: Uuid,
    /// The ledger account.
    pub ledger_account_id: i64,
    /// Why.
    pub kind: String,
    /// The cause.
    pub cause_id: Uuid,
    /// Which account of the ledger.
    pub ledger_account: String,
    /// Whose; none: ours.
    pub account_id: Option<AccountId>,
    /// In 10^-9 CNY.
    pub amount_nanos: i64,
}

/// Where an export goes on.
pub type ExportPosition = (DateTime<Utc>, Uuid, i64);

/// Entries between two instants, in the order of the books, those after `after`.
pub async fn export(
    tx: &mut PgConnection,
    (begin, end): (DateTime<Utc>, DateTime<Utc>),
    account_id: Option<AccountId>,
    after: Option<ExportPosition>,
    limit: i64,
) -> sqlx::Result<Vec<Exported>> {
    let (at, transfer, account) = match after {
        Some((at, transfer, account)) => (Some(at), Some(transfer), Some(account)),
        None => (None, None, None),
    };
    sqlx::query_as(
        "select t.booked_at, t.transfer_id, e.ledger_account_id, t.kind, t.cause_id,
                a.kind as ledger_account, a.account_id, e.amount_nanos
         from transfers t
         join entries e using (transfer_id)
         join ledger_accounts a using (ledger_account_id)
         where t.booked_at >= $1 and t.booked_at < $2 and ($3::uuid is null or a.account_id = $3)
           and ($4::timestamptz is null
                or (t.booked_at, t.transfer_id, e.ledger_account_id) > ($4, $5, $6))
         order by t.booked_at, t.transfer_id, e.ledger_account_id limit $7",
    )
    .bind(begin)
    .bind(end)
    .bind(account_id)
    .bind(at)
    .bind(transfer)
    .bind(account)
    .bind(limit)
    .fetch_all(tx)
    .await
}
