use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use wanwu_ids::AccountId;

/// Sets below what an account is told. One that is below already is told when it is again.
pub async fn set(
    tx: &mut PgConnection,
    account_id: AccountId,
    below: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into balance_alerts (account_id, below_nanos, is_below, changed_at)
         select $1, $2, coalesce(sum(balance_nanos), 0) < $2, $3 from ledger_accounts
         where account_id = $1 and kind in ('available', 'package', 'leased')
         on conflict on constraint balance_alerts_pkey do update set
             below_nanos = excluded.below_nanos, is_below = excluded.is_below,
             changed_at = excluded.changed_at",
    )
    .bind(account_id)
    .bind(below)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// The account is not told any more.
pub async fn remove(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<()> {
    sqlx::query("delete from balance_alerts where account_id = $1")
        .bind(account_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Below what an account is told.
pub async fn find(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("select below_nanos from balance_alerts where account_id = $1")
        .bind(account_id)
        .fetch_optional(tx)
        .await
}

/// Notes which accounts fell below or are above again, some at a time: account, below what, and
/// whether it is below. Another replica's are left to it.
pub async fn note_crossings(
    tx: &mut PgConnection,
    most: i64,
) -> sqlx::Result<Vec<(AccountId, i64, bool)>> {
    sqlx::query_as(
        "with crossed as (
             select account_id from balance_alerts b
             where is_below <> (below_nanos > (
                 select coalesce(sum(balance_nanos), 0) from ledger_accounts a
                 where a.account_id = b.account_id and a.kind in ('available', 'package', 'leased')))
             limit $1 for update skip locked
         )
         update balance_alerts b set is_below = not is_below from crossed
         where b.account_id = crossed.account_id
         returning b.account_id, b.below_nanos, b.is_below",
    )
    .bind(most)
    .fetch_all(tx)
    .await
}
