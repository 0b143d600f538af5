use chrono::{DateTime, Duration, Utc};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;
use wanwu_ids::{AccountId, SessionId};

/// A refresh token and its session.
#[derive(FromRow)]
pub struct RefreshToken {
    /// The session.
    pub session_id: SessionId,
    /// Whose session.
    pub account_id: AccountId,
    /// SHA-256 of the secret.
    pub secret_hash: Vec<u8>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// When it was changed for another.
    pub used_at: Option<DateTime<Utc>>,
    /// When the session ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Opens a session.
pub async fn insert(
    tx: &mut PgConnection,
    session_id: SessionId,
    account_id: AccountId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("insert into sessions (session_id, account_id, opened_at) values ($1, $2, $3)")
        .bind(session_id)
        .bind(account_id)
        .bind(now)
        .execute(tx)
        .await?;
    Ok(())
}

/// Ends a session.
pub async fn end(tx: &mut PgConnection, id: SessionId, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("update sessions set ended_at = coalesce(ended_at, $2) where session_id = $1")
        .bind(id)
        .bind(now)
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes a refresh token.
pub async fn insert_refresh_token(
    tx: &mut PgConnection,
    token_id: Uuid,
    session_id: SessionId,
    secret_hash: &[u8],
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into refresh_tokens (token_id, session_id, secret_hash, expires_at)
         values ($1, $2, $3, $4)",
    )
    .bind(token_id)
    .bind(session_id)
    .bind(secret_hash)
    .bind(expires_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The refresh token with this id, locked until the transaction ends.
pub async fn lock_refresh_token(
    tx: &mut PgConnection,
    token_id: Uuid,
) -> sqlx::Result<Option<RefreshToken>> {
    sqlx::query_as(
        "select t.session_id, s.account_id, t.secret_hash, t.expires_at, t.used_at, s.ended_at
         from refresh_tokens t join sessions s using (session_id)
         where t.token_id = $1 for update",
    )
    .bind(token_id)
    .fetch_optional(tx)
    .await
}

/// Marks a refresh token as changed for another.
pub async fn use_refresh_token(
    tx: &mut PgConnection,
    token_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("update refresh_tokens set used_at = $2 where token_id = $1")
        .bind(token_id)
        .bind(now)
        .execute(tx)
        .await?;
    Ok(())
}

/// Removes refresh tokens that ended a day ago, and sessions that have none left.
pub async fn sweep(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("delete from refresh_tokens where expires_at < $1")
        .bind(now - Duration::days(1))
        .execute(pool)
        .await?;
    // A session is written with its first token, which lives for a month.
    sqlx::query(
        "delete from sessions s where opened_at < $1
           and not exists (select from refresh_tokens t where t.session_id = s.session_id)",
    )
    .bind(now - Duration::days(31))
    .execute(pool)
    .await?;
    Ok(())
}
