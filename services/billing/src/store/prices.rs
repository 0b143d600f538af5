use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use wanwu_tariff::{Prices, Unit};

use crate::domain::price::PriceList;

/// The list with this version.
pub async fn find(tx: &mut PgConnection, version: i32) -> sqlx::Result<Option<PriceList>> {
    let effective_at: Option<DateTime<Utc>> =
        sqlx::query_scalar("select effective_at from price_lists where version = $1")
            .bind(version)
            .fetch_optional(&mut *tx)
            .await?;
    let Some(effective_at) = effective_at else {
        return Ok(None);
    };
    let tiers = sqlx::query_scalar(
        "select threshold_nanos from price_tiers where version = $1 order by tier",
    )
    .bind(version)
    .fetch_all(&mut *tx)
    .await?;
    let rows: Vec<(String, i32, String, i64)> = sqlx::query_as(
        "select model, 0, unit, nanos_per_unit from prices where version = $1
         union all
         select model, tier, unit, nanos_per_unit from unit_prices where version = $1",
    )
    .bind(version)
    .fetch_all(tx)
    .await?;
    let mut list = PriceList {
        version,
        effective_at,
        tiers,
        prices: Default::default(),
    };
    for (model, tier, unit, nanos) in rows {
        let unit =
            Unit::from_name(&unit).ok_or_else(|| sqlx::Error::Decode("unknown unit".into()))?;
        let prices = list.prices.entry((model, tier)).or_insert(Prices::NONE);
        *prices = prices.with(unit, nanos);
    }
    Ok(Some(list))
}

/// The version in force at an instant.
pub async fn in_force(tx: &mut PgConnection, instant: DateTime<Utc>) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar(
        "select version from price_lists where effective_at <= $1
         order by effective_at desc, version desc limit 1",
    )
    .bind(instant)
    .fetch_optional(tx)
    .await
}

/// Versions, the newest first, those below `before`.
pub async fn versions(
    tx: &mut PgConnection,
    before: Option<i32>,
    limit: i64,
) -> sqlx::Result<Vec<i32>> {
    sqlx::query_scalar(
        "select version from price_lists where $1::integer is null or version < $1
         order by version desc limit $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// The next version, and the latest start of all lists.
pub async fn latest(tx: &mut PgConnection) -> sqlx::Result<(i32, Option<DateTime<Utc>>)> {
    sqlx::query_as("select coalesce(max(version), 0) + 1, max(effective_at) from price_lists")
        .fetch_one(tx)
        .await
}

/// A list that is there comes earlier with a higher version, or later with a lower one.
pub async fn is_out_of_order(tx: &mut PgConnection, list: &PriceList) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from price_lists where (version < $1 and effective_at >= $2)
                                                 or (version > $1 and effective_at <= $2))",
    )
    .bind(list.version)
    .bind(list.effective_at)
    .fetch_one(tx)
    .await
}

/// Keeps publications apart.
pub async fn lock(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("lock table price_lists in share row exclusive mode")
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes a list that was not there. What the version before knows is where it looks for it.
pub async fn insert(tx: &mut PgConnection, list: &PriceList) -> sqlx::Result<()> {
    sqlx::query("insert into price_lists (version, effective_at) values ($1, $2)")
        .bind(list.version)
        .bind(list.effective_at)
        .execute(&mut *tx)
        .await?;
    for (tier, threshold) in (1_i32..).zip(&list.tiers) {
        sqlx::query("insert into price_tiers (version, tier, threshold_nanos) values ($1, $2, $3)")
            .bind(list.version)
            .bind(tier)
            .bind(threshold)
            .execute(&mut *tx)
            .await?;
    }
    let tokens = [Unit::InputToken, Unit::OutputToken];
    for ((model, tier), prices) in &list.prices {
        for (unit, nanos) in prices.units() {
            let known = *tier == 0 && tokens.contains(&unit);
            let insert = if known {
                sqlx::query(
                    "insert into prices (version, model, unit, nanos_per_unit) values ($1, $2, $3, $4)",
                )
            } else {
                sqlx::query(
                    "insert into unit_prices (version, model, unit, nanos_per_unit, tier)
                     values ($1, $2, $3, $4, $5)",
                )
            };
            let insert = insert
                .bind(list.version)
                .bind(model)
                .bind(unit.as_str())
                .bind(nanos);
            let insert = if known { insert } else { insert.bind(tier) };
            insert.execute(&mut *tx).await?;
        }
    }
    Ok(())
}
