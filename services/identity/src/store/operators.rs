use chrono::{DateTime, Duration, Utc};
use sqlx::{FromRow, PgConnection, PgPool};
use wanwu_ids::OperatorId;

/// A name has one operator.
pub const ONE_NAME: &str = "operators_name_key";
/// Sign-ins that may be tried by one name within [`ATTEMPT_WINDOW`].
pub const MAX_ATTEMPTS: i32 = 5;
/// How long they count.
pub const ATTEMPT_WINDOW: Duration = Duration::minutes(15);

/// An operator.
#[derive(Clone, FromRow)]
pub struct Operator {
    /// The operator.
    pub operator_id: OperatorId,
    /// The name.
    pub name: String,
    /// Argon2id, in PHC form.
    pub password_hash: String,
    /// The secret of the authenticator, sealed.
    pub totp_sealed: Vec<u8>,
    /// The last step whose code was used.
    pub totp_step: i64,
    /// Numbers of `wanwu.access.v1.OperatorRole`.
    pub roles: Vec<i32>,
}

/// Writes a new operator.
pub async fn insert(
    tx: &mut PgConnection,
    operator: &Operator,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into operators (operator_id, name, password_hash, totp_sealed, roles, created_at)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(operator.operator_id)
    .bind(&operator.name)
    .bind(&operator.password_hash)
    .bind(&operator.totp_sealed)
    .bind(&operator.roles)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// The operator with this name.
pub async fn find(pool: &PgPool, name: &str) -> sqlx::Result<Option<Operator>> {
    sqlx::query_as(
        "select operator_id, name, password_hash, totp_sealed, totp_step, roles
         from operators where name = $1",
    )
    .bind(name)
    .fetch_optional(pool)
    .await
}

/// Uses up the code of a step; `false` when it, or a later one, was used before.
pub async fn use_step(tx: &mut PgConnection, id: OperatorId, step: i64) -> sqlx::Result<bool> {
    let used = sqlx::query(
        "update operators set totp_step = $2 where operator_id = $1 and totp_step < $2",
    )
    .bind(id)
    .bind(step)
    .execute(tx)
    .await?;
    Ok(used.rows_affected() == 1)
}

/// Counts a sign-in with a name, known or not, in a statement of its own that is committed before
/// anything is compared; `Some`: the name is locked, until then.
pub async fn count_attempt(
    pool: &PgPool,
    name: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let counted = sqlx::query(
        "insert into operator_attempts as a (name, attempts, since) values ($1, 1, $2)
         on conflict on constraint operator_attempts_pkey do update set
             attempts = case when a.since <= $3 then 1 else a.attempts + 1 end,
             since = case when a.since <= $3 then $2 else a.since end
         where a.since <= $3 or a.attempts < $4",
    )
    .bind(name)
    .bind(now)
    .bind(now - ATTEMPT_WINDOW)
    .bind(MAX_ATTEMPTS)
    .execute(pool)
    .await?;
    if counted.rows_affected() == 1 {
        return Ok(None);
    }
    let since: Option<DateTime<Utc>> =
        sqlx::query_scalar("select since from operator_attempts where name = $1")
            .bind(name)
            .fetch_optional(pool)
            .await?;
    Ok(Some(since.unwrap_or(now) + ATTEMPT_WINDOW))
}

/// A sign-in succeeded: what was tried before counts no more.
pub async fn forget_attempts(tx: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    sqlx::query("delete from operator_attempts where name = $1")
        .bind(name)
        .execute(tx)
        .await?;
    Ok(())
}

/// Removes attempts that count no more.
pub async fn sweep_attempts(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let swept = sqlx::query("delete from operator_attempts where since <= $1")
        .bind(now - ATTEMPT_WINDOW)
        .execute(pool)
        .await?;
    Ok(swept.rows_affected())
}
