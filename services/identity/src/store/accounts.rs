use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use wanwu_ids::AccountId;
use wanwu_personal::IndexEntry;

/// A number has one account.
pub const ONE_ACCOUNT: &str = "phones_index_mac_key";

/// Writes a new account.
pub async fn insert(
    tx: &mut PgConnection,
    account_id: AccountId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("insert into accounts (account_id, registered_at) values ($1, $2)")
        .bind(account_id)
        .bind(now)
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes an account's number, sealed, with its blind index.
pub async fn insert_phone(
    tx: &mut PgConnection,
    account_id: AccountId,
    sealed: &[u8],
    index: &IndexEntry,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into phones (account_id, sealed, index_key, index_mac) values ($1, $2, $3, $4)",
    )
    .bind(account_id)
    .bind(sealed)
    .bind(&index.key_id)
    .bind(&index.mac[..])
    .execute(tx)
    .await?;
    Ok(())
}

/// The account of a number, by the index entries of all live keys.
pub async fn find_by_phone(
    tx: &mut PgConnection,
    macs: &[Vec<u8>],
) -> sqlx::Result<Option<AccountId>> {
    sqlx::query_scalar("select account_id from phones where index_mac = any($1)")
        .bind(macs)
        .fetch_optional(tx)
        .await
}

/// An account's number, sealed.
pub async fn sealed_phone(
    tx: &mut PgConnection,
    account_id: AccountId,
) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar("select sealed from phones where account_id = $1")
        .bind(account_id)
        .fetch_optional(tx)
        .await
}
