use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use sqlx::{FromRow, PgConnection, PgPool, types::Json};
use uuid::Uuid;
use wanwu_ids::AccountId;

/// A notification whose turn it is.
#[derive(Debug, FromRow)]
pub struct Due {
    /// Which one.
    pub notification_id: Uuid,
    /// Whom to tell.
    pub account_id: AccountId,
    /// The template, by our name.
    pub template: String,
    /// Values for the template.
    pub params: Json<HashMap<String, String>>,
    /// How often it was tried, this time included.
    pub attempts: i32,
}

/// Writes down that somebody is to be told something, from now on.
pub async fn insert(
    tx: &mut PgConnection,
    notification_id: Uuid,
    account_id: AccountId,
    template: &str,
    params: &HashMap<String, String>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into notifications
             (notification_id, account_id, template, params, requested_at, next_at)
         values ($1, $2, $3, $4, $5, $5)",
    )
    .bind(notification_id)
    .bind(account_id)
    .bind(template)
    .bind(Json(params))
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes at most `limit` that are due; nobody else takes them for the next `lease`.
pub async fn take_due(
    pool: &PgPool,
    now: DateTime<Utc>,
    lease: Duration,
    limit: i64,
) -> sqlx::Result<Vec<Due>> {
    sqlx::query_as(
        "update notifications set attempts = attempts + 1, next_at = $2
         where notification_id = any (array(
             select notification_id from notifications where next_at <= $1
             order by next_at limit $3 for update skip locked))
         returning notification_id, account_id, template, params, attempts",
    )
    .bind(now)
    .bind(now + lease)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// It was sent.
pub async fn mark_sent(pool: &PgPool, id: Uuid, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "update notifications set sent_at = $2, next_at = null, error = null
         where notification_id = $1",
    )
    .bind(id)
    .bind(now)
    .execute(pool)
    .await?;
    Ok(())
}

/// It was not sent; `next_at`: when it is tried again, `None`: it is given up.
pub async fn mark_failed(
    pool: &PgPool,
    id: Uuid,
    next_at: Option<DateTime<Utc>>,
    error: &str,
) -> sqlx::Result<()> {
    sqlx::query("update notifications set next_at = $2, error = $3 where notification_id = $1")
        .bind(id)
        .bind(next_at)
        .bind(error)
        .execute(pool)
        .await?;
    Ok(())
}

/// Removes those that ended a month ago.
pub async fn sweep(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let swept =
        sqlx::query("delete from notifications where next_at is null and requested_at < $1")
            .bind(now - Duration::days(30))
            .execute(pool)
            .await?;
    Ok(swept.rows_affected())
}
