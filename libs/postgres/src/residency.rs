//! A database says where it belongs, and a service refuses to work on one that belongs elsewhere.

use sqlx::{PgConnection, PgPool};

/// Regions of the mainland, by the names that its clouds give them. Hong Kong, Macao and Taiwan
/// are not in it: data there has left the mainland in the sense of the law.
const MAINLAND_PREFIXES: [&str; 7] = [
    "cn-north",
    "cn-northwest",
    "cn-northeast",
    "cn-east",
    "cn-south",
    "cn-southwest",
    "cn-central",
];

/// The database may not be used here.
#[derive(Debug, thiserror::Error)]
pub enum ResidencyError {
    /// The configured region is not on the mainland.
    #[error("region {0} is not a mainland region")]
    NotMainland(String),
    /// The database carries the mark of another region.
    #[error("the database belongs to region {found}, this service to {expected}")]
    Elsewhere {
        /// The service's region.
        expected: String,
        /// The database's region.
        found: String,
    },
    /// The database carries no mark: it was not migrated.
    #[error("the database carries no region mark; migrate it first")]
    Unmarked,
    /// The database failed.
    #[error("cannot read the region mark")]
    Database(#[from] sqlx::Error),
}

/// The region is on the mainland: `cn-<direction>-<number>`.
///
/// # Errors
/// When it is not.
pub fn check_region(region: &str) -> Result<(), ResidencyError> {
    let mainland = region.rsplit_once('-').is_some_and(|(place, number)| {
        MAINLAND_PREFIXES.contains(&place)
            && !number.is_empty()
            && number.len() <= 3
            && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    if mainland {
        Ok(())
    } else {
        Err(ResidencyError::NotMainland(region.to_owned()))
    }
}

/// Marks a new database with the region; part of `migrate`. A mark is never changed.
///
/// # Errors
/// When the region is not on the mainland or the database belongs to another one.
pub async fn mark(connection: &mut PgConnection, region: &str) -> Result<(), ResidencyError> {
    check_region(region)?;
    sqlx::query(
        "insert into database_marks (region) values ($1)
         on conflict on constraint database_marks_pkey do nothing",
    )
    .bind(region)
    .execute(&mut *connection)
    .await?;
    check(connection, region).await
}

/// Refuses a database that does not carry this region's mark; part of `serve`.
///
/// # Errors
/// When the region is not on the mainland, or the mark is absent or another's.
pub async fn check(connection: &mut PgConnection, region: &str) -> Result<(), ResidencyError> {
    check_region(region)?;
    let mark: Option<(String,)> = sqlx::query_as("select region from database_marks")
        .fetch_optional(connection)
        .await?;
    match mark {
        Some((found,)) if found == region => Ok(()),
        Some((found,)) => Err(ResidencyError::Elsewhere {
            expected: region.to_owned(),
            found,
        }),
        None => Err(ResidencyError::Unmarked),
    }
}

/// As [`mark`], for the database of a pool.
///
/// # Errors
/// As [`mark`].
pub async fn mark_pool(pool: PgPool, region: String) -> Result<(), ResidencyError> {
    let mut connection = pool.acquire().await?;
    mark(&mut connection, &region).await
}

/// As [`check`], for the database of a pool.
///
/// # Errors
/// As [`check`].
pub async fn check_pool(pool: PgPool, region: String) -> Result<(), ResidencyError> {
    let mut connection = pool.acquire().await?;
    check(&mut connection, &region).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mainland_regions_are_accepted() {
        for region in [
            "cn-north-1",
            "cn-northwest-1",
            "cn-east-3",
            "cn-southwest-2",
        ] {
            assert!(check_region(region).is_ok(), "{region}");
        }
        for region in [
            "cn-hongkong",
            "cn-hongkong-1",
            "ap-east-1",
            "us-east-1",
            "cn-north-",
            "cn",
        ] {
            assert!(check_region(region).is_err(), "{region}");
        }
    }
}
