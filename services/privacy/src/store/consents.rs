use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::{AccountId, ConsentId};

/// A consent as the ledger's entries tell it.
#[derive(Clone, Debug, FromRow)]
pub struct Consent {
    /// The consent.
    pub consent_id: ConsentId,
    /// Who gave it.
    pub account_id: AccountId,
    /// The purpose's code.
    pub purpose: String,
    /// SHA-256 of the text that was shown, hex.
    pub text_sha256: String,
    /// When it was given.
    pub given_at: DateTime<Utc>,
    /// When it was withdrawn.
    pub withdrawn_at: Option<DateTime<Utc>>,
}

const CONSENTS: &str = "select g.consent_id, g.account_id, g.purpose, g.text_sha256,
            g.recorded_at as given_at, w.recorded_at as withdrawn_at
     from consent_entries g
     left join consent_entries w on w.consent_id = g.consent_id and w.action = 'withdrawn'
     where g.action = 'given'
       and g.account_id = $1
       and ($2::uuid is null or g.consent_id = $2)
       and ($3::text is null or g.purpose = $3)
       and ($4::uuid is null or g.consent_id < $4)
     order by g.consent_id desc limit $5";

/// Entries of one account stand one after the other: a withdrawal sees every consent before it.
pub async fn lock(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1::text, 0))")
        .bind(account_id.to_string())
        .execute(tx)
        .await?;
    Ok(())
}

/// The account's consent with this id.
pub async fn find(
    tx: &mut PgConnection,
    account_id: AccountId,
    consent_id: ConsentId,
) -> sqlx::Result<Option<Consent>> {
    sqlx::query_as(CONSENTS)
        .bind(account_id)
        .bind(consent_id)
        .bind(None::<&str>)
        .bind(None::<Uuid>)
        .bind(1_i64)
        .fetch_optional(tx)
        .await
}

/// The account's consents to a purpose that stand, at most 100.
pub async fn standing(
    tx: &mut PgConnection,
    account_id: AccountId,
    purpose: &str,
) -> sqlx::Result<Vec<Consent>> {
    let mut consents: Vec<Consent> = sqlx::query_as(CONSENTS)
        .bind(account_id)
        .bind(None::<Uuid>)
        .bind(purpose)
        .bind(None::<Uuid>)
        .bind(100_i64)
        .fetch_all(tx)
        .await?;
    consents.retain(|consent| consent.withdrawn_at.is_none());
    Ok(consents)
}

/// The account's consents, newest first, those before `before`.
pub async fn list(
    tx: &mut PgConnection,
    account_id: AccountId,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Consent>> {
    sqlx::query_as(CONSENTS)
        .bind(account_id)
        .bind(None::<Uuid>)
        .bind(None::<&str>)
        .bind(before)
        .bind(limit)
        .fetch_all(tx)
        .await
}

/// Writes the entry of a consent that is given (`given`) or withdrawn.
pub async fn record(tx: &mut PgConnection, entry_id: Uuid, consent: &Consent) -> sqlx::Result<()> {
    let (action, at) = match consent.withdrawn_at {
        Some(at) => ("withdrawn", at),
        None => ("given", consent.given_at),
    };
    sqlx::query(
        "insert into consent_entries
             (entry_id, consent_id, account_id, purpose, action, text_sha256, recorded_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(entry_id)
    .bind(consent.consent_id)
    .bind(consent.account_id)
    .bind(&consent.purpose)
    .bind(action)
    .bind(&consent.text_sha256)
    .bind(at)
    .execute(tx)
    .await?;
    Ok(())
}

/// Uses a consent up for an act; answers the act that it is used for now.
pub async fn use_up(
    tx: &mut PgConnection,
    consent_id: ConsentId,
    use_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<Uuid> {
    sqlx::query(
        "insert into consent_uses (consent_id, use_id, used_at) values ($1, $2, $3)
         on conflict do nothing",
    )
    .bind(consent_id)
    .bind(use_id)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    sqlx::query_scalar("select use_id from consent_uses where consent_id = $1")
        .bind(consent_id)
        .fetch_one(tx)
        .await
}
