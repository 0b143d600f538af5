use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use wanwu_ids::OperatorId;

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
    /// Failed sign-ins since `failures_since`.
    pub failures: i32,
    /// When the first of them was.
    pub failures_since: Option<DateTime<Utc>>,
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

/// The operator with this name, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, name: &str) -> sqlx::Result<Option<Operator>> {
    sqlx::query_as(
        "select operator_id, name, password_hash, totp_sealed, totp_step, roles, failures,
                failures_since
         from operators where name = $1 for update",
    )
    .bind(name)
    .fetch_optional(tx)
    .await
}

/// Writes what can change of an operator that the transaction holds.
pub async fn save(tx: &mut PgConnection, operator: &Operator) -> sqlx::Result<()> {
    sqlx::query(
        "update operators set totp_step = $2, failures = $3, failures_since = $4
         where operator_id = $1",
    )
    .bind(operator.operator_id)
    .bind(operator.totp_step)
    .bind(operator.failures)
    .bind(operator.failures_since)
    .execute(tx)
    .await?;
    Ok(())
}
