use chrono::{DateTime, Duration, Utc};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::{code::MAX_COMPARISONS, send_limits::Sent};

/// A code to be sent.
pub struct NewCode<'a> {
    /// Its id.
    pub code_id: Uuid,
    /// Blind index of the number.
    pub phone_mac: &'a [u8],
    /// What it is for.
    pub purpose: &'a str,
    /// What is stored of the digits.
    pub code_mac: &'a [u8],
    /// Keyed hash of the client's address.
    pub address_key: &'a str,
    /// Now.
    pub sent_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// A code that may be compared once more.
#[derive(FromRow)]
pub struct Comparable {
    /// Its id.
    pub code_id: Uuid,
    /// What is stored of the digits.
    pub code_mac: Vec<u8>,
}

/// Codes are written one after the other until the transaction ends: the limits of a number, of an
/// address and of everybody together hold also for many requests at once.
pub async fn take_turn(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('identity.codes', 0))")
        .execute(tx)
        .await?;
    Ok(())
}

/// What was sent before, for the limits; the number by its index entries of all live keys.
pub async fn sent(
    tx: &mut PgConnection,
    phone_macs: &[Vec<u8>],
    address_key: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Sent> {
    let to_number = sqlx::query_scalar(
        "select sent_at from codes where phone_mac = any($1) and sent_at > $2 order by sent_at",
    )
    .bind(phone_macs)
    .bind(now - Duration::hours(24))
    .fetch_all(&mut *tx)
    .await?;
    let (for_address, by_everybody) = sqlx::query_as(
        "select (select count(*) from codes where address_key = $1 and $1 <> '' and sent_at > $2),
                (select count(*) from codes where sent_at > $3)",
    )
    .bind(address_key)
    .bind(now - Duration::hours(1))
    .bind(now - Duration::minutes(1))
    .fetch_one(tx)
    .await?;
    Ok(Sent {
        to_number,
        for_address,
        by_everybody,
    })
}

/// Writes a code.
pub async fn insert(tx: &mut PgConnection, code: &NewCode<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into codes
             (code_id, phone_mac, purpose, code_mac, address_key, sent_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(code.code_id)
    .bind(code.phone_mac)
    .bind(code.purpose)
    .bind(code.code_mac)
    .bind(code.address_key)
    .bind(code.sent_at)
    .bind(code.expires_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes down what became of the message.
pub async fn note_delivery(pool: &PgPool, code_id: Uuid, sent: bool) -> sqlx::Result<()> {
    sqlx::query("update codes set delivery = $2 where code_id = $1")
        .bind(code_id)
        .bind(if sent { "sent" } else { "failed" })
        .execute(pool)
        .await?;
    Ok(())
}

/// Counts a comparison with the newest code of a number and purpose, in a statement of its own that
/// is committed before anything is compared: however many guesses arrive at once, five are compared.
pub async fn count_comparison(
    pool: &PgPool,
    phone_mac: &[u8],
    purpose: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Comparable>> {
    sqlx::query_as(
        "update codes set comparisons = comparisons + 1
         where code_id = (
                 select code_id from codes where phone_mac = $1 and purpose = $2
                 order by sent_at desc, code_id desc limit 1)
           and comparisons < $3 and used_at is null and expires_at > $4
         returning code_id, code_mac",
    )
    .bind(phone_mac)
    .bind(purpose)
    .bind(MAX_COMPARISONS)
    .bind(now)
    .fetch_optional(pool)
    .await
}

/// Uses a code up; `false` when somebody else did first.
pub async fn use_up(
    tx: &mut PgConnection,
    code_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let used = sqlx::query("update codes set used_at = $2 where code_id = $1 and used_at is null")
        .bind(code_id)
        .bind(now)
        .execute(tx)
        .await?;
    Ok(used.rows_affected() == 1)
}

/// Removes codes that no limit looks at any more.
pub async fn sweep(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let swept = sqlx::query("delete from codes where sent_at < $1")
        .bind(now - Duration::hours(25))
        .execute(pool)
        .await?;
    Ok(swept.rows_affected())
}
