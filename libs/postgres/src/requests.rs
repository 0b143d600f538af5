//! Requests that create something can be repeated: the same `request_id` from the same caller to
//! the same method gives what the first one made; with another body it is refused.
//!
//! Kept are a keyed hash of the request and the id of what it made, no content.

use aws_lc_rs::hmac;
use chrono::{DateTime, Duration, Utc};
use prost::Message;
use sqlx::PgConnection;
use uuid::Uuid;

/// How long a request is remembered where no money moves.
pub const KEPT: Duration = Duration::days(7);

/// What names a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestKey<'a> {
    /// The method, such as `wanwu.billing.v1.OrderService/CreateOrder`.
    pub method: &'a str,
    /// Who called, such as `account:<uuid>`; no personal data.
    pub caller: &'a str,
    /// What the caller named it.
    pub request_id: Uuid,
}

/// Makes keyed hashes of requests. The key is a secret of the service, at least 32 bytes.
#[derive(Clone)]
pub struct BodyKey(hmac::Key);

/// The keyed hash of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyMac([u8; 32]);

/// What a claim found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The request is new: make the object, under the id that was given to [`claim`].
    New,
    /// It was done before and made this object: read it and answer that.
    Repeated(Uuid),
}

/// The claim was not granted.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The same request id came with another body before.
    #[error("the request_id was used with another body")]
    Reused,
    /// The database failed.
    #[error("cannot look up the request")]
    Database(#[from] sqlx::Error),
}

impl BodyKey {
    /// Takes the secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The keyed hash of a request. The message must have no map field with more than one entry:
    /// its bytes would have no fixed order.
    #[must_use]
    pub fn mac(&self, request: &impl Message) -> BodyMac {
        let tag = hmac::sign(&self.0, &request.encode_to_vec());
        BodyMac(tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes"))
    }
}

/// Claims a request in the transaction that makes `object_id`. A second claim of the same request
/// waits until the first transaction ends. `kept`: how long it is remembered ([`KEPT`]), `None`
/// for ever, as for money.
///
/// # Errors
/// [`ClaimError::Reused`] when the body differs from the first one's.
pub async fn claim(
    connection: &mut PgConnection,
    key: RequestKey<'_>,
    body: BodyMac,
    object_id: Uuid,
    now: DateTime<Utc>,
    kept: Option<Duration>,
) -> Result<Claim, ClaimError> {
    let inserted = sqlx::query(
        "insert into requests (method, caller, request_id, body_mac, object_id, created_at, kept_until)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict on constraint requests_pkey do nothing",
    )
    .bind(key.method)
    .bind(key.caller)
    .bind(key.request_id)
    .bind(&body.0[..])
    .bind(object_id)
    .bind(now)
    .bind(kept.map(|kept| now + kept))
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(Claim::New);
    }
    match find(connection, key, body).await? {
        Some(claim) => Ok(claim),
        // It lapsed and was swept between the two statements.
        None => Err(sqlx::Error::RowNotFound.into()),
    }
}

/// Looks a request up without claiming it, before work that is not to be repeated.
///
/// # Errors
/// [`ClaimError::Reused`] when the body differs from the first one's.
pub async fn find(
    connection: &mut PgConnection,
    key: RequestKey<'_>,
    body: BodyMac,
) -> Result<Option<Claim>, ClaimError> {
    let row: Option<(Vec<u8>, Uuid)> = sqlx::query_as(
        "select body_mac, object_id from requests
         where method = $1 and caller = $2 and request_id = $3",
    )
    .bind(key.method)
    .bind(key.caller)
    .bind(key.request_id)
    .fetch_optional(connection)
    .await?;
    match row {
        None => Ok(None),
        Some((mac, object_id)) if mac == body.0 => Ok(Some(Claim::Repeated(object_id))),
        Some(_) => Err(ClaimError::Reused),
    }
}

/// Forgets at most `limit` requests whose time is over, and says how many.
///
/// # Errors
/// When the database fails.
pub async fn sweep(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let result = sqlx::query(
        "delete from requests where ctid = any (array(
             select ctid from requests where kept_until < $1 limit $2 for update skip locked))",
    )
    .bind(now)
    .bind(limit)
    .execute(connection)
    .await?;
    Ok(result.rows_affected())
}
