//! Tables `limit_buckets` and `limit_slots`: what is left of limits for all replicas together.

use sqlx::PgExecutor;
use uuid::Uuid;
use wanwu_ids::EpochId;

use crate::domain::{
    allowance::{Grant, Surplus, Want},
    limits::Bound,
};

/// Columns of several bounds.
struct Columns {
    levels: Vec<i16>,
    subjects: Vec<Uuid>,
    quantities: Vec<i16>,
    capacities: Vec<i64>,
}

impl Columns {
    fn of<'a>(bounds: impl Iterator<Item = &'a Bound> + Clone) -> Self {
        Self {
            levels: bounds.clone().map(|b| b.subject.level as i16).collect(),
            subjects: bounds.clone().map(|b| b.subject.id).collect(),
            quantities: bounds.clone().map(|b| b.quantity as i16).collect(),
            capacities: bounds.map(|b| signed(b.limit)).collect(),
        }
    }
}

/// Takes what is wanted, as far as it is there; `wants` must be in the order of their bounds.
/// Answers a grant for each.
pub async fn take(
    database: impl PgExecutor<'_>,
    epoch: EpochId,
    wants: &[Want],
) -> Result<Vec<Grant>, sqlx::Error> {
    let columns = Columns::of(wants.iter().map(|want| &want.bound));
    let rows: Vec<(i64, f64)> = sqlx::query_as(
        "select granted, available from take_limit_allowances($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(epoch)
    .bind(columns.levels)
    .bind(columns.subjects)
    .bind(columns.quantities)
    .bind(columns.capacities)
    .bind(wants.iter().map(|w| signed(w.least)).collect::<Vec<_>>())
    .bind(wants.iter().map(|w| signed(w.most)).collect::<Vec<_>>())
    .fetch_all(database)
    .await?;
    let grant = |(granted, available): (i64, f64)| Grant {
        granted: u64::try_from(granted).unwrap_or_default(),
        available,
    };
    Ok(rows.into_iter().map(grant).collect())
}

/// Gives back what is not needed; `surplus` must be in the order of its bounds.
pub async fn give(
    database: impl PgExecutor<'_>,
    epoch: EpochId,
    surplus: &[Surplus],
) -> Result<(), sqlx::Error> {
    let columns = Columns::of(surplus.iter().map(|surplus| &surplus.bound));
    sqlx::query("select give_limit_allowances($1, $2, $3, $4, $5, $6)")
        .bind(epoch)
        .bind(columns.levels)
        .bind(columns.subjects)
        .bind(columns.quantities)
        .bind(columns.capacities)
        .bind(surplus.iter().map(|s| s.amount).collect::<Vec<_>>())
        .execute(database)
        .await?;
    Ok(())
}

/// Forgets buckets that are full again and the slots of epochs that are over. Owes nothing to
/// anybody: a bucket that owes is kept until it is paid.
pub async fn forget_old(database: impl PgExecutor<'_> + Copy) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from limit_buckets where filled_at < now() - interval '10 minutes' and units >= 0",
    )
    .execute(database)
    .await?;
    sqlx::query(
        "delete from limit_slots s where slots = 0 or not exists (
             select from router_epochs e where e.epoch_id = s.epoch_id and e.alive_until > now()
         )",
    )
    .execute(database)
    .await?;
    Ok(())
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
