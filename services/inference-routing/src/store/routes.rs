//! Table `routes`: every version of every route.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, types::Json};
use wanwu_ids::OperatorId;

use crate::domain::route::Route;

/// A route with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRoute {
    /// The route.
    pub route: Route,
    /// Its version.
    pub version: i64,
}

/// Lets one at a time change routes, until the transaction ends.
pub async fn lock(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("lock table routes in share row exclusive mode")
        .execute(tx)
        .await?;
    Ok(())
}

/// The newest version of a name, whether it holds or ended; 0: there never was one.
pub async fn newest_version(
    database: impl PgExecutor<'_>,
    name: &str,
) -> Result<(i64, bool), sqlx::Error> {
    let row: Option<(i64, bool)> = sqlx::query_as(
        "select version, document is not null from routes where name = $1
         order by version desc limit 1",
    )
    .bind(name)
    .fetch_optional(database)
    .await?;
    Ok(row.unwrap_or((0, false)))
}

/// Adds a version; without a route, the name's end.
pub async fn add(
    database: impl PgExecutor<'_>,
    name: &str,
    version: i64,
    route: Option<&Route>,
    operator: OperatorId,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into routes (name, version, document, operator_id, changed_at)
         values ($1, $2, $3, $4, $5)",
    )
    .bind(name)
    .bind(version)
    .bind(route.map(Json))
    .bind(operator)
    .bind(now)
    .execute(database)
    .await?;
    Ok(())
}

/// The routes that hold, by name.
pub async fn in_force(database: impl PgExecutor<'_>) -> Result<Vec<KeptRoute>, sqlx::Error> {
    let rows: Vec<(i64, Option<Json<Route>>)> = sqlx::query_as(
        "select distinct on (name) version, document from routes order by name, version desc",
    )
    .fetch_all(database)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(version, document)| {
            let Json(route) = document?;
            Some(KeptRoute { route, version })
        })
        .collect())
}
