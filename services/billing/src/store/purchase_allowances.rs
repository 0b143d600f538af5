use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use wanwu_ids::{AccountId, OrderId};

use crate::domain::purchase::Allowance;

/// Writes what a guardian said; an older word changes nothing.
pub async fn save(
    tx: &mut PgConnection,
    account_id: AccountId,
    allowance: &Allowance,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into purchase_allowances as a
             (account_id, version, order_limit_fen, month_limit_fen, until)
         values ($1, $2, $3, $4, $5)
         on conflict (account_id) do update set
             version = excluded.version, order_limit_fen = excluded.order_limit_fen,
             month_limit_fen = excluded.month_limit_fen, until = excluded.until
         where a.version < excluded.version",
    )
    .bind(account_id)
    .bind(allowance.version)
    .bind(allowance.order_limit_fen)
    .bind(allowance.month_limit_fen)
    .bind(allowance.until)
    .execute(tx)
    .await?;
    Ok(())
}

/// What the minor may buy, held until the transaction ends: orders of the same minor wait for each
/// other.
pub async fn lock(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<Option<Allowance>> {
    let row: Option<(i64, i64, i64, DateTime<Utc>)> = sqlx::query_as(
        "select version, order_limit_fen, month_limit_fen, until from purchase_allowances
         where account_id = $1 for update",
    )
    .bind(account_id)
    .fetch_optional(tx)
    .await?;
    Ok(row.map(
        |(version, order_limit_fen, month_limit_fen, until)| Allowance {
            version,
            order_limit_fen,
            month_limit_fen,
            until,
        },
    ))
}

/// What the account ordered in a time and the bank transfers that it declared, in fen: all but orders that
/// were not paid and cannot be any more, and but `except`.
pub async fn bought(
    tx: &mut PgConnection,
    account_id: AccountId,
    (from, until): (DateTime<Utc>, DateTime<Utc>),
    except: Option<OrderId>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select coalesce(sum(amount_fen), 0)::bigint from (
             select amount_fen, created_at from orders
             where account_id = $1 and state not in ('expired', 'cancelled')
               and order_id is distinct from $4
             union all
             select amount_fen, created_at from bank_transfers where account_id = $1
         ) as bought
         where created_at >= $2 and created_at < $3",
    )
    .bind(account_id)
    .bind(from)
    .bind(until)
    .bind(except)
    .fetch_one(tx)
    .await
}
