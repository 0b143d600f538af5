use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use crate::domain::price::{PriceList, Unit};

#[derive(FromRow)]
struct Row {
    effective_at: DateTime<Utc>,
    model: Option<String>,
    unit: Option<String>,
    nanos_per_unit: Option<i64>,
}

/// The list with this version.
pub async fn find(tx: &mut PgConnection, version: i32) -> sqlx::Result<Option<PriceList>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select l.effective_at, p.model, p.unit, p.nanos_per_unit
         from price_lists l left join prices p using (version) where l.version = $1",
    )
    .bind(version)
    .fetch_all(tx)
    .await?;
    let Some(effective_at) = rows.first().map(|row| row.effective_at) else {
        return Ok(None);
    };
    let mut list = PriceList {
        version,
        effective_at,
        prices: Default::default(),
    };
    for row in rows {
        if let (Some(model), Some(unit), Some(nanos)) = (row.model, row.unit, row.nanos_per_unit) {
            let unit = Unit::from_stored(&unit)
                .ok_or_else(|| sqlx::Error::Decode("unknown unit".into()))?;
            list.prices.insert((model, unit), nanos);
        }
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

/// Keeps publications apart.
pub async fn lock(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("lock table price_lists in share row exclusive mode")
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes a list that was not there.
pub async fn insert(tx: &mut PgConnection, list: &PriceList) -> sqlx::Result<()> {
    sqlx::query("insert into price_lists (version, effective_at) values ($1, $2)")
        .bind(list.version)
        .bind(list.effective_at)
        .execute(&mut *tx)
        .await?;
    for ((model, unit), nanos) in &list.prices {
        sqlx::query(
            "insert into prices (version, model, unit, nanos_per_unit) values ($1, $2, $3, $4)",
        )
        .bind(list.version)
        .bind(model)
        .bind(unit.as_str())
        .bind(nanos)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}
