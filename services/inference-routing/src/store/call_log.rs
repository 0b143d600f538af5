//! Table `calls` as the log that its accounts read.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;
use wanwu_ids::{AccountId, AppId, CallId, KeyId};

/// A row of the call log.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct LoggedCall {
    /// The call.
    pub call_id: CallId,
    /// The app.
    pub app_id: AppId,
    /// The key.
    pub key_id: KeyId,
    /// The model.
    pub model: String,
    /// 0 it runs, else as in the contract.
    pub outcome: i16,
    /// Tokens of the prompt.
    pub input_tokens: i64,
    /// Tokens of the answer.
    pub output_tokens: i64,
    /// When it was dispatched.
    pub dispatched_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A call of this account.
pub async fn find(
    database: impl PgExecutor<'_>,
    account: AccountId,
    call: CallId,
) -> Result<Option<LoggedCall>, sqlx::Error> {
    sqlx::query_as(
        "select call_id, app_id, key_id, model, outcome, input_tokens, output_tokens,
             dispatched_at, finished_at
         from calls where call_id = $1 and account_id = $2",
    )
    .bind(call)
    .bind(account)
    .fetch_optional(database)
    .await
}

/// Calls of this account, newest first, after `after`.
pub async fn list(
    database: impl PgExecutor<'_>,
    account: AccountId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<LoggedCall>, sqlx::Error> {
    sqlx::query_as(
        "select call_id, app_id, key_id, model, outcome, input_tokens, output_tokens,
             dispatched_at, finished_at
         from calls where account_id = $1 and ($2::uuid is null or call_id < $2)
         order by call_id desc limit $3",
    )
    .bind(account)
    .bind(after)
    .bind(limit)
    .fetch_all(database)
    .await
}
