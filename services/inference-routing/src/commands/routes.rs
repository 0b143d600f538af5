//! Operators set and end routes.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use wanwu_ids::OperatorId;

use crate::{
    catalogue::Catalogue,
    domain::route::{MAX_ROUTES, Route},
    error::Error,
    store::routes::{self, KeptRoute},
};

/// Sets a route, as the version after the one that the operator knows.
pub async fn put_route(
    pool: &PgPool,
    catalogue: &Catalogue,
    operator: OperatorId,
    route: Route,
    expected: i64,
    now: DateTime<Utc>,
) -> Result<KeptRoute, Error> {
    route
        .check(|model| catalogue.find(model).is_some())
        .map_err(|invalid| Error::InvalidArgument {
            field: invalid.field,
            problem: invalid.problem,
        })?;
    let mut tx = pool.begin().await?;
    routes::lock(&mut tx).await?;
    let (newest, holds) = routes::newest_version(&mut *tx, &route.name).await?;
    // Who knows of none may make one where one has ended.
    if expected != newest && (expected != 0 || holds) {
        return Err(Error::RouteChanged);
    }
    if !holds && routes::in_force(&mut *tx).await?.len() >= MAX_ROUTES {
        return Err(Error::InvalidArgument {
            field: "route",
            problem: format!("{MAX_ROUTES} routes are there already"),
        });
    }
    let version = newest + 1;
    routes::add(&mut *tx, &route.name, version, Some(&route), operator, now).await?;
    tx.commit().await?;
    tracing::info!(route.name, route.version = version, operator.id = %operator, "a route was set");
    Ok(KeptRoute { route, version })
}

/// Ends a route.
pub async fn delete_route(
    pool: &PgPool,
    operator: OperatorId,
    name: &str,
    expected: i64,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    routes::lock(&mut tx).await?;
    let (newest, holds) = routes::newest_version(&mut *tx, name).await?;
    if !holds {
        return Err(Error::NotFound);
    }
    if expected != newest {
        return Err(Error::RouteChanged);
    }
    routes::add(&mut *tx, name, newest + 1, None, operator, now).await?;
    tx.commit().await?;
    tracing::info!(route.name = name, operator.id = %operator, "a route was ended");
    Ok(())
}
