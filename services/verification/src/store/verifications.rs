use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use wanwu_ids::{AccountId, VerificationId};

use crate::domain::verification::State;

/// A real-name check as stored; what is personal is sealed.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The check.
    pub verification_id: VerificationId,
    /// Whose.
    pub account_id: AccountId,
    /// Its state.
    pub state: State,
    /// The name, sealed.
    pub name_sealed: Vec<u8>,
    /// The resident ID, sealed.
    pub resident_id_sealed: Vec<u8>,
    /// When it was submitted.
    pub submitted_at: DateTime<Utc>,
    /// When the agency answered.
    pub decided_at: Option<DateTime<Utc>>,
    /// How often the agency was asked.
    pub queries: u32,
    /// Before this the agency is not asked again.
    pub query_after: DateTime<Utc>,
}

#[derive(FromRow)]
struct Row {
    verification_id: VerificationId,
    account_id: AccountId,
    state: String,
    name_sealed: Vec<u8>,
    resident_id_sealed: Vec<u8>,
    submitted_at: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
    queries: i32,
    query_after: DateTime<Utc>,
}

impl TryFrom<Row> for Verification {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            verification_id: row.verification_id,
            account_id: row.account_id,
            state: State::from_stored(&row.state)
                .ok_or_else(|| sqlx::Error::Decode("unknown verification state".into()))?,
            name_sealed: row.name_sealed,
            resident_id_sealed: row.resident_id_sealed,
            submitted_at: row.submitted_at,
            decided_at: row.decided_at,
            queries: row.queries.unsigned_abs(),
            query_after: row.query_after,
        })
    }
}

/// The index that lets an account have one check that is pending or holds.
pub const ONE_AT_A_TIME: &str = "verifications_account_id_key";

/// Writes a new check.
pub async fn insert(tx: &mut PgConnection, v: &Verification) -> sqlx::Result<()> {
    sqlx::query(
        "insert into verifications (verification_id, account_id, state, name_sealed,
             resident_id_sealed, submitted_at, decided_at, queries, query_after)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(v.verification_id)
    .bind(v.account_id)
    .bind(v.state.as_str())
    .bind(&v.name_sealed)
    .bind(&v.resident_id_sealed)
    .bind(v.submitted_at)
    .bind(v.decided_at)
    .bind(i32::try_from(v.queries).unwrap_or(i32::MAX))
    .bind(v.query_after)
    .execute(tx)
    .await?;
    Ok(())
}

/// The check with this id, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, id: VerificationId) -> sqlx::Result<Option<Verification>> {
    let row: Option<Row> =
        sqlx::query_as("select * from verifications where verification_id = $1 for update")
            .bind(id)
            .fetch_optional(tx)
            .await?;
    row.map(TryInto::try_into).transpose()
}

/// The check with this id.
pub async fn find(tx: &mut PgConnection, id: VerificationId) -> sqlx::Result<Option<Verification>> {
    let row: Option<Row> = sqlx::query_as("select * from verifications where verification_id = $1")
        .bind(id)
        .fetch_optional(tx)
        .await?;
    row.map(TryInto::try_into).transpose()
}

/// The account's newest check.
pub async fn newest(
    tx: &mut PgConnection,
    account_id: AccountId,
) -> sqlx::Result<Option<Verification>> {
    let row: Option<Row> = sqlx::query_as(
        "select * from verifications where account_id = $1 order by verification_id desc limit 1",
    )
    .bind(account_id)
    .fetch_optional(tx)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// The check that holds for an account.
pub async fn verified(
    tx: &mut PgConnection,
    account_id: AccountId,
) -> sqlx::Result<Option<Verification>> {
    let row: Option<Row> =
        sqlx::query_as("select * from verifications where account_id = $1 and state = 'verified'")
            .bind(account_id)
            .fetch_optional(tx)
            .await?;
    row.map(TryInto::try_into).transpose()
}

/// Writes state, times and count of a check that the transaction holds.
pub async fn save(tx: &mut PgConnection, v: &Verification) -> sqlx::Result<()> {
    sqlx::query(
        "update verifications set state = $2, decided_at = $3, queries = $4, query_after = $5
         where verification_id = $1",
    )
    .bind(v.verification_id)
    .bind(v.state.as_str())
    .bind(v.decided_at)
    .bind(i32::try_from(v.queries).unwrap_or(i32::MAX))
    .bind(v.query_after)
    .execute(tx)
    .await?;
    Ok(())
}

/// Pending checks whose time to be asked again has come, oldest first.
pub async fn due(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<VerificationId>> {
    sqlx::query_scalar(
        "select verification_id from verifications
         where state = 'pending' and query_after <= $1 order by query_after limit $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(tx)
    .await
}
