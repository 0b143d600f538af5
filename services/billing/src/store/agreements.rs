use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use wanwu_ids::VersionId;

/// The version of an agreement that an order goes by.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize, Deserialize)]
pub struct PinnedAgreement {
    /// The version.
    pub version_id: VersionId,
    /// Which agreement.
    pub agreement: String,
    /// Counts from 1; 0: not told.
    pub number: i32,
}

/// Writes a version that was told; one that is known changes nothing.
pub async fn keep(
    tx: &mut PgConnection,
    version: &PinnedAgreement,
    effective_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into agreement_versions (version_id, agreement, number, effective_at)
         values ($1, $2, $3, $4) on conflict (version_id) do nothing",
    )
    .bind(version.version_id)
    .bind(&version.agreement)
    .bind(version.number)
    .bind(effective_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The version of every agreement in force at an instant, by agreement: the newest of those that
/// are, as privacy counts.
pub async fn in_force(
    tx: &mut PgConnection,
    instant: DateTime<Utc>,
) -> sqlx::Result<Vec<PinnedAgreement>> {
    sqlx::query_as(
        "select distinct on (agreement) version_id, agreement, number
         from agreement_versions where effective_at <= $1
         order by agreement, effective_at desc, number desc",
    )
    .bind(instant)
    .fetch_all(tx)
    .await
}
