use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use wanwu_ids::{AccountId, AppId, KeyId};

/// An application of an account.
#[derive(Clone, Debug, FromRow)]
pub struct App {
    /// The app.
    pub app_id: AppId,
    /// Its owner.
    pub account_id: AccountId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A key of an app, without its secret.
#[derive(Clone, Debug, FromRow)]
pub struct ApiKey {
    /// The key.
    pub key_id: KeyId,
    /// The app.
    pub app_id: AppId,
    /// The app's owner.
    pub account_id: AccountId,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Creations of one account stand one after the other: the limits hold also for many at once.
pub async fn lock_owner(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<()> {
    sqlx::query("select from accounts where account_id = $1 for update")
        .bind(account_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes a new app.
pub async fn insert(tx: &mut PgConnection, app: &App) -> sqlx::Result<()> {
    sqlx::query("insert into apps (app_id, account_id, name, created_at) values ($1, $2, $3, $4)")
        .bind(app.app_id)
        .bind(app.account_id)
        .bind(&app.name)
        .bind(app.created_at)
        .execute(tx)
        .await?;
    Ok(())
}

/// How many apps an account has.
pub async fn count(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from apps where account_id = $1")
        .bind(account_id)
        .fetch_one(tx)
        .await
}

/// The app with this id.
pub async fn find(tx: &mut PgConnection, id: AppId) -> sqlx::Result<Option<App>> {
    sqlx::query_as("select * from apps where app_id = $1")
        .bind(id)
        .fetch_optional(tx)
        .await
}

/// The account's apps, newest first, those before `before`.
pub async fn list(
    tx: &mut PgConnection,
    account_id: AccountId,
    before: Option<AppId>,
    limit: i64,
) -> sqlx::Result<Vec<App>> {
    sqlx::query_as(
        "select * from apps where account_id = $1 and ($2::uuid is null or app_id < $2)
         order by app_id desc limit $3",
    )
    .bind(account_id)
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Writes a new key.
pub async fn insert_key(tx: &mut PgConnection, key: &ApiKey) -> sqlx::Result<()> {
    sqlx::query(
        "insert into api_keys (key_id, app_id, account_id, scopes, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(key.key_id)
    .bind(key.app_id)
    .bind(key.account_id)
    .bind(&key.scopes)
    .bind(key.created_at)
    .bind(key.expires_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// How many live keys an app has.
pub async fn count_keys(
    tx: &mut PgConnection,
    app_id: AppId,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from api_keys where app_id = $1 and revoked_at is null
           and (expires_at is null or expires_at > $2)",
    )
    .bind(app_id)
    .bind(now)
    .fetch_one(tx)
    .await
}

/// The key with this id.
pub async fn find_key(tx: &mut PgConnection, id: KeyId) -> sqlx::Result<Option<ApiKey>> {
    sqlx::query_as("select * from api_keys where key_id = $1")
        .bind(id)
        .fetch_optional(tx)
        .await
}

/// The key with this id, locked until the transaction ends.
pub async fn lock_key(tx: &mut PgConnection, id: KeyId) -> sqlx::Result<Option<ApiKey>> {
    sqlx::query_as("select * from api_keys where key_id = $1 for update")
        .bind(id)
        .fetch_optional(tx)
        .await
}

/// Marks a key as revoked.
pub async fn revoke_key(tx: &mut PgConnection, id: KeyId, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("update api_keys set revoked_at = coalesce(revoked_at, $2) where key_id = $1")
        .bind(id)
        .bind(now)
        .execute(tx)
        .await?;
    Ok(())
}

/// The app's keys, newest first, those before `before`.
pub async fn list_keys(
    tx: &mut PgConnection,
    app_id: AppId,
    before: Option<KeyId>,
    limit: i64,
) -> sqlx::Result<Vec<ApiKey>> {
    sqlx::query_as(
        "select * from api_keys where app_id = $1 and ($2::uuid is null or key_id < $2)
         order by key_id desc limit $3",
    )
    .bind(app_id)
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await
}
