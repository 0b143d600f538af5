use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use wanwu_ids::{AccountId, VersionId};

/// One immutable version of an agreement, without its text.
#[derive(Clone, Debug, FromRow)]
pub struct AgreementVersion {
    /// The version.
    pub version_id: VersionId,
    /// Which agreement.
    pub agreement: String,
    /// Counts from 1.
    pub number: i32,
    /// Title.
    pub title: String,
    /// SHA-256 of the text, hex.
    pub sha256: String,
    /// When it was published.
    pub published_at: DateTime<Utc>,
    /// From when it is in force.
    pub effective_at: DateTime<Utc>,
}

/// Keeps publications of one agreement apart, so that numbers have no gap and no twin.
pub async fn lock(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("lock table agreement_versions in share row exclusive mode")
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes a version; `false` when its id was there.
pub async fn insert(
    tx: &mut PgConnection,
    version: &AgreementVersion,
    body: &str,
) -> sqlx::Result<bool> {
    let result = sqlx::query(
        "insert into agreement_versions
             (version_id, agreement, number, title, body, sha256, published_at, effective_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (version_id) do nothing",
    )
    .bind(version.version_id)
    .bind(&version.agreement)
    .bind(version.number)
    .bind(&version.title)
    .bind(body)
    .bind(&version.sha256)
    .bind(version.published_at)
    .bind(version.effective_at)
    .execute(tx)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// The version with this id.
pub async fn find(tx: &mut PgConnection, id: VersionId) -> sqlx::Result<Option<AgreementVersion>> {
    sqlx::query_as(
        "select version_id, agreement, number, title, sha256, published_at, effective_at
         from agreement_versions where version_id = $1",
    )
    .bind(id)
    .fetch_optional(tx)
    .await
}

/// The text of the version with this id.
pub async fn body(tx: &mut PgConnection, id: VersionId) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select body from agreement_versions where version_id = $1")
        .bind(id)
        .fetch_optional(tx)
        .await
}

/// Every version.
pub async fn all(tx: &mut PgConnection) -> sqlx::Result<Vec<AgreementVersion>> {
    sqlx::query_as(
        "select version_id, agreement, number, title, sha256, published_at, effective_at
         from agreement_versions order by agreement, number",
    )
    .fetch_all(tx)
    .await
}

/// The version of every agreement in force at an instant, by agreement.
pub async fn in_force(
    tx: &mut PgConnection,
    instant: DateTime<Utc>,
) -> sqlx::Result<Vec<AgreementVersion>> {
    sqlx::query_as(
        "select distinct on (agreement)
             version_id, agreement, number, title, sha256, published_at, effective_at
         from agreement_versions where effective_at <= $1
         order by agreement, effective_at desc, number desc",
    )
    .bind(instant)
    .fetch_all(tx)
    .await
}

/// How many versions have come into force by an instant: only grows.
pub async fn count_in_force(tx: &mut PgConnection, instant: DateTime<Utc>) -> sqlx::Result<u64> {
    let count: i64 =
        sqlx::query_scalar("select count(*) from agreement_versions where effective_at <= $1")
            .bind(instant)
            .fetch_one(tx)
            .await?;
    Ok(count.unsigned_abs())
}

/// The number that the next version of an agreement gets.
pub async fn next_number(tx: &mut PgConnection, agreement: &str) -> sqlx::Result<i32> {
    sqlx::query_scalar(
        "select coalesce(max(number), 0) + 1 from agreement_versions where agreement = $1",
    )
    .bind(agreement)
    .fetch_one(tx)
    .await
}

/// Records that an account accepts these versions; what it accepted before stays as it was.
pub async fn accept(
    tx: &mut PgConnection,
    account_id: AccountId,
    versions: &BTreeSet<VersionId>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let versions: Vec<_> = versions.iter().copied().collect();
    sqlx::query(
        "insert into acceptances (account_id, version_id, accepted_at)
         select $1, version_id, $3 from unnest($2::uuid[]) as version_id
         on conflict do nothing",
    )
    .bind(account_id)
    .bind(versions)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}
