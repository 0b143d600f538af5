use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::{AccountId, OperatorId};

/// A version of the rules of the brand.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Rules {
    /// Counts from 1.
    pub version: i32,
    /// The text.
    pub body: String,
    /// SHA-256 of the text, hex.
    pub sha256: String,
    /// When it was published.
    pub published_at: DateTime<Utc>,
    /// By whom.
    pub published_by: OperatorId,
}

/// An application for the use of the brand.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Application {
    /// The application.
    pub application_id: Uuid,
    /// Whose.
    pub account_id: AccountId,
    /// Who the enterprise is, sealed.
    pub enterprise_sealed: Vec<u8>,
    /// The name in the phrase.
    pub product_name: String,
    /// Where it is to be used.
    pub scope: String,
    /// For how many months.
    pub months: i32,
    /// When it came.
    pub applied_at: DateTime<Utc>,
    /// `open`, `granted`, `refused`.
    pub state: String,
    /// What was answered.
    pub answer: Option<String>,
    /// The Message-ID of the official mail.
    pub mail_id: Option<String>,
    /// What the enterprise was checked by.
    pub evidence_sha256: Option<String>,
    /// The rules that it is granted under.
    pub rules_version: Option<i32>,
    /// When it was answered.
    pub answered_at: Option<DateTime<Utc>>,
    /// By whom.
    pub answered_by: Option<OperatorId>,
    /// Until when it is granted.
    pub until: Option<DateTime<Utc>>,
}

/// Keeps publications apart, so that versions have no gap and no twin.
pub async fn lock_rules(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("lock table brand_rules in share row exclusive mode")
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes a version.
pub async fn insert_rules(tx: &mut PgConnection, rules: &Rules) -> sqlx::Result<()> {
    sqlx::query(
        "insert into brand_rules (version, body, sha256, published_at, published_by)
         values ($1, $2, $3, $4, $5)",
    )
    .bind(rules.version)
    .bind(&rules.body)
    .bind(&rules.sha256)
    .bind(rules.published_at)
    .bind(rules.published_by)
    .execute(tx)
    .await?;
    Ok(())
}

/// A version; `None`: the newest.
pub async fn find_rules(
    tx: &mut PgConnection,
    version: Option<i32>,
) -> sqlx::Result<Option<Rules>> {
    sqlx::query_as(
        "select * from brand_rules where $1::integer is null or version = $1
         order by version desc limit 1",
    )
    .bind(version)
    .fetch_optional(tx)
    .await
}

/// Writes a new application.
pub async fn insert(tx: &mut PgConnection, application: &Application) -> sqlx::Result<()> {
    sqlx::query(
        "insert into brand_applications
             (application_id, account_id, enterprise_sealed, product_name, scope, months, applied_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(application.application_id)
    .bind(application.account_id)
    .bind(&application.enterprise_sealed)
    .bind(&application.product_name)
    .bind(&application.scope)
    .bind(application.months)
    .bind(application.applied_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The application with this id, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Application>> {
    sqlx::query_as("select * from brand_applications where application_id = $1 for update")
        .bind(id)
        .fetch_optional(tx)
        .await
}

/// Writes the answer of an application that the transaction holds.
pub async fn answer(tx: &mut PgConnection, application: &Application) -> sqlx::Result<()> {
    sqlx::query(
        "update brand_applications set state = $2, answer = $3, mail_id = $4, evidence_sha256 = $5,
             rules_version = $6, answered_at = $7, answered_by = $8, until = $9
         where application_id = $1",
    )
    .bind(application.application_id)
    .bind(&application.state)
    .bind(&application.answer)
    .bind(&application.mail_id)
    .bind(&application.evidence_sha256)
    .bind(application.rules_version)
    .bind(application.answered_at)
    .bind(application.answered_by)
    .bind(application.until)
    .execute(tx)
    .await?;
    Ok(())
}

/// The account's, newest first, those before `before`.
pub async fn list(
    tx: &mut PgConnection,
    account_id: AccountId,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Application>> {
    sqlx::query_as(
        "select * from brand_applications
         where account_id = $1 and ($2::uuid is null or application_id < $2)
         order by application_id desc limit $3",
    )
    .bind(account_id)
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Those without an answer, oldest first, after `after`.
pub async fn open(
    tx: &mut PgConnection,
    after: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Application>> {
    sqlx::query_as(
        "select * from brand_applications
         where state = 'open' and ($1::uuid is null or application_id > $1)
         order by application_id limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// When those without an answer came.
pub async fn open_since(tx: &mut PgConnection) -> sqlx::Result<Vec<DateTime<Utc>>> {
    sqlx::query_scalar("select applied_at from brand_applications where state = 'open'")
        .fetch_all(tx)
        .await
}
