use chrono::{DateTime, Duration, Utc};
use prost::Message;
use prost_types::Timestamp;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;
use wanwu_ids::SessionId;
use wanwu_proto::{access::v1::Principal, identity::v1::Grant};

#[derive(FromRow)]
struct Row {
    credential_id: Uuid,
    secret_hash: Vec<u8>,
    principal: Vec<u8>,
    expires_at: Option<DateTime<Utc>>,
    revoked: bool,
    version: i64,
    changed_at: DateTime<Utc>,
}

impl TryFrom<Row> for Grant {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let principal = Principal::decode(row.principal.as_slice())
            .map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Self {
            credential_id: row.credential_id.to_string(),
            secret_hash: row.secret_hash,
            principal: Some(principal),
            expire_time: row.expires_at.map(|at| Timestamp {
                seconds: at.timestamp(),
                nanos: 0,
            }),
            revoked: row.revoked,
            version: row.version.unsigned_abs(),
        })
    }
}

/// A grant to be written.
pub struct NewGrant<'a> {
    /// The credential.
    pub credential_id: Uuid,
    /// The session that it ends with.
    pub session_id: Option<SessionId>,
    /// SHA-256 of the secret.
    pub secret_hash: &'a [u8],
    /// Who the bearer is.
    pub principal: &'a Principal,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

const GRANT: &str = "select credential_id, secret_hash, principal, expires_at, revoked, version,
            changed_at from grants where credential_id = $1";

/// Writes a grant.
pub async fn insert(tx: &mut PgConnection, grant: &NewGrant<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into grants (credential_id, session_id, secret_hash, principal, expires_at)
         values ($1, $2, $3, $4, $5)",
    )
    .bind(grant.credential_id)
    .bind(grant.session_id)
    .bind(grant.secret_hash)
    .bind(grant.principal.encode_to_vec())
    .bind(grant.expires_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The grant of a credential.
pub async fn find(tx: &mut PgConnection, credential_id: Uuid) -> sqlx::Result<Option<Grant>> {
    let row: Option<Row> = sqlx::query_as(GRANT)
        .bind(credential_id)
        .fetch_optional(tx)
        .await?;
    row.map(TryInto::try_into).transpose()
}

/// Revokes a credential.
pub async fn revoke(tx: &mut PgConnection, credential_id: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "update grants set revoked = true, version = version + 1, changed_at = clock_timestamp()
         where credential_id = $1 and not revoked",
    )
    .bind(credential_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// Revokes every credential of a session.
pub async fn revoke_session(tx: &mut PgConnection, session_id: SessionId) -> sqlx::Result<()> {
    sqlx::query(
        "update grants set revoked = true, version = version + 1, changed_at = clock_timestamp()
         where session_id = $1 and not revoked",
    )
    .bind(session_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// The grants that changed at or after `since`, with their times, oldest first.
pub async fn changed_since(
    pool: &PgPool,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<(Grant, DateTime<Utc>)>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select credential_id, secret_hash, principal, expires_at, revoked, version, changed_at
         from grants where changed_at >= $1 order by changed_at limit 10000",
    )
    .bind(since)
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.changed_at, row.try_into()?)))
        .map(|r: sqlx::Result<_>| r.map(|(at, grant)| (grant, at)))
        .collect()
}

/// Removes grants that ended a day ago.
pub async fn sweep(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let swept = sqlx::query("delete from grants where expires_at < $1")
        .bind(now - Duration::days(1))
        .execute(pool)
        .await?;
    Ok(swept.rows_affected())
}
