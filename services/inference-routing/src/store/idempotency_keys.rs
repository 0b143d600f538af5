//! Table `idempotency_keys`: each key of an app is good for one call in 24 hours.

use std::collections::HashSet;

use sqlx::{PgConnection, PgExecutor};
use wanwu_ids::CallId;

use crate::journal::Dispatch;

/// Claims the keys of these calls; answers the calls whose key was used. Claiming again for the
/// same call is fine. No two of the calls may have the same key.
pub async fn claim(
    tx: &mut PgConnection,
    rows: &[&Dispatch],
) -> Result<HashSet<CallId>, sqlx::Error> {
    let keyed: Vec<(&Dispatch, &str)> = rows
        .iter()
        .filter_map(|row| Some((*row, row.idempotency_key.as_deref()?)))
        .collect();
    if keyed.is_empty() {
        return Ok(HashSet::new());
    }
    let claimed: Vec<CallId> = sqlx::query_scalar(
        "insert into idempotency_keys as k (app_id, idempotency_key, call_id, used_at)
         select app_id, key, call_id, now()
         from unnest($1::uuid[], $2::text[], $3::uuid[]) as c (app_id, key, call_id)
         order by app_id, key
         on conflict on constraint idempotency_keys_pkey do update
             set call_id = excluded.call_id, used_at = excluded.used_at
             where k.used_at < now() - interval '24 hours' or k.call_id = excluded.call_id
         returning call_id",
    )
    .bind(keyed.iter().map(|(row, _)| row.app_id).collect::<Vec<_>>())
    .bind(keyed.iter().map(|(_, key)| *key).collect::<Vec<_>>())
    .bind(keyed.iter().map(|(row, _)| row.call_id).collect::<Vec<_>>())
    .fetch_all(tx)
    .await?;
    let claimed: HashSet<CallId> = claimed.into_iter().collect();
    let calls = keyed.iter().map(|(row, _)| row.call_id);
    Ok(calls.filter(|call| !claimed.contains(call)).collect())
}

/// Gives back the keys of calls that no engine answered and nobody pays: they may be repeated.
pub async fn release(tx: &mut PgConnection, calls: Vec<CallId>) -> Result<(), sqlx::Error> {
    if calls.is_empty() {
        return Ok(());
    }
    sqlx::query("delete from idempotency_keys where call_id = any($1)")
        .bind(calls)
        .execute(tx)
        .await?;
    Ok(())
}

/// Forgets some keys whose day is over; answers how many.
pub async fn forget_old(database: impl PgExecutor<'_>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "delete from idempotency_keys where call_id in (
             select call_id from idempotency_keys
             where used_at < now() - interval '24 hours' order by used_at limit 10000)",
    )
    .execute(database)
    .await?;
    Ok(done.rows_affected())
}
