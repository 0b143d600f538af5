use chrono::{DateTime, NaiveDate, Utc};
use futures::{TryStreamExt, stream::BoxStream};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::AccountId;

use crate::domain::monthly_statement::{CallLine, Line};

/// A statement without its content.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Statement {
    /// Whose.
    pub account_id: AccountId,
    /// The first day of its month.
    pub month: NaiveDate,
    /// What was held when the month began, in 10^-9 CNY.
    pub opening_nanos: i64,
    /// What was held when it was over.
    pub closing_nanos: i64,
    /// How many movements.
    pub lines: i64,
    /// Bytes of the file.
    pub size: i64,
    /// Parts of the file.
    pub parts: i32,
    /// SHA-256 of the file.
    pub sha256: Vec<u8>,
    /// The key that signed.
    pub key_id: String,
    /// Ed25519 of the SHA-256.
    pub signature: Vec<u8>,
    /// When it was made.
    pub made_at: DateTime<Utc>,
}

/// The newest month of which every statement is made.
pub async fn last_month(tx: &mut PgConnection) -> sqlx::Result<Option<NaiveDate>> {
    sqlx::query_scalar("select max(month) from statement_months")
        .fetch_one(tx)
        .await
}

/// Every statement of a month is made.
pub async fn insert_month(
    tx: &mut PgConnection,
    month: NaiveDate,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into statement_months (month, made_at) values ($1, $2) on conflict do nothing",
    )
    .bind(month)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// When the first transfer was booked.
pub async fn first_booking(tx: &mut PgConnection) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar("select min(booked_at) from transfers")
        .fetch_one(tx)
        .await
}

/// Accounts that held something at some time and have no statement of a month, by id.
pub async fn due(
    tx: &mut PgConnection,
    month: NaiveDate,
    after: Option<AccountId>,
    limit: i64,
) -> sqlx::Result<Vec<AccountId>> {
    sqlx::query_scalar(
        "select distinct account_id from ledger_accounts a
         where kind in ('available', 'package') and account_id is not null
           and ($2::uuid is null or account_id > $2)
           and not exists (select from monthly_statements s
                           where s.account_id = a.account_id and s.month = $1)
         order by account_id limit $3",
    )
    .bind(month)
    .bind(after)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Reads at one instant, and long enough for an account's movements.
pub async fn read_at_one_instant(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("set transaction isolation level repeatable read, read only")
        .execute(&mut *tx)
        .await?;
    for setting in ["statement_timeout", "idle_in_transaction_session_timeout"] {
        sqlx::query("select set_config($1, '10min', true)")
            .bind(setting)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// What an account held before an instant, by its entries.
pub async fn held_before(
    tx: &mut PgConnection,
    account_id: AccountId,
    at: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select coalesce(sum(e.amount_nanos), 0)::bigint
         from ledger_accounts a join entries e using (ledger_account_id)
         join transfers t using (transfer_id)
         where a.account_id = $1 and a.kind in ('available', 'package', 'leased')
           and t.booked_at < $2",
    )
    .bind(account_id)
    .bind(at)
    .fetch_one(tx)
    .await
}

#[derive(FromRow)]
struct Row {
    booked_at: DateTime<Utc>,
    kind: String,
    cause_id: Uuid,
    nanos: i64,
    model: Option<String>,
    app_id: Option<Uuid>,
    key_id: Option<Uuid>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
}

impl From<Row> for Line {
    fn from(row: Row) -> Self {
        let text = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
        Self {
            booked_at: row.booked_at,
            kind: row.kind,
            cause: row.cause_id.to_string(),
            nanos: row.nanos,
            call: row.model.map(|model| CallLine {
                model,
                app: text(row.app_id),
                key: text(row.key_id),
                input_tokens: row.input_tokens.unwrap_or_default(),
                output_tokens: row.output_tokens.unwrap_or_default(),
            }),
        }
    }
}

/// The movements of an account in a time, oldest first, as they come: what moves between what it
/// holds (a lease and its return) is none.
pub fn lines(
    tx: &mut PgConnection,
    account_id: AccountId,
    (begin, end): (DateTime<Utc>, DateTime<Utc>),
) -> BoxStream<'_, sqlx::Result<Line>> {
    let rows = sqlx::query_as::<_, Row>(
        "select m.booked_at, m.kind, m.cause_id, m.nanos, c.model, c.app_id, c.key_id,
                c.input_tokens, c.output_tokens
         from (
             select t.transfer_id, t.booked_at, t.kind, t.cause_id,
                    sum(e.amount_nanos)::bigint as nanos
             from ledger_accounts a join entries e using (ledger_account_id)
             join transfers t using (transfer_id)
             where a.account_id = $1 and a.kind in ('available', 'package', 'leased')
               and t.booked_at >= $2 and t.booked_at < $3
             group by t.transfer_id
             having sum(e.amount_nanos) <> 0
         ) as m
         left join calls c on m.kind = 'usage' and c.call_id = m.cause_id
         order by m.booked_at, m.transfer_id",
    )
    .bind(account_id)
    .bind(begin)
    .bind(end)
    .fetch(tx);
    Box::pin(rows.map_ok(Line::from))
}

/// Lets one at a time make an account's statement, until the transaction ends; `false`: another does.
pub async fn take_turn(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select pg_try_advisory_xact_lock(hashtextextended('statement:' || $1::text, 0))",
    )
    .bind(account_id)
    .fetch_one(tx)
    .await
}

/// Writes a part.
pub async fn insert_part(
    tx: &mut PgConnection,
    account_id: AccountId,
    month: NaiveDate,
    number: i32,
    content: &[u8],
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into monthly_statement_parts (account_id, month, number, content)
         values ($1, $2, $3, $4)",
    )
    .bind(account_id)
    .bind(month)
    .bind(number)
    .bind(content)
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes a statement.
pub async fn insert(tx: &mut PgConnection, statement: &Statement) -> sqlx::Result<()> {
    sqlx::query(
        "insert into monthly_statements (account_id, month, opening_nanos, closing_nanos, lines, size,
             parts, sha256, key_id, signature, made_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(statement.account_id)
    .bind(statement.month)
    .bind(statement.opening_nanos)
    .bind(statement.closing_nanos)
    .bind(statement.lines)
    .bind(statement.size)
    .bind(statement.parts)
    .bind(&statement.sha256)
    .bind(&statement.key_id)
    .bind(&statement.signature)
    .bind(statement.made_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The statement of a month.
pub async fn find(
    tx: &mut PgConnection,
    account_id: AccountId,
    month: NaiveDate,
) -> sqlx::Result<Option<Statement>> {
    sqlx::query_as("select * from monthly_statements where account_id = $1 and month = $2")
        .bind(account_id)
        .bind(month)
        .fetch_optional(tx)
        .await
}

/// A part of it.
pub async fn find_part(
    tx: &mut PgConnection,
    account_id: AccountId,
    month: NaiveDate,
    number: i32,
) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar(
        "select content from monthly_statement_parts
         where account_id = $1 and month = $2 and number = $3",
    )
    .bind(account_id)
    .bind(month)
    .bind(number)
    .fetch_optional(tx)
    .await
}

/// The account's statements, newest first.
pub async fn list(
    tx: &mut PgConnection,
    account_id: AccountId,
    before: Option<NaiveDate>,
    limit: i64,
) -> sqlx::Result<Vec<Statement>> {
    sqlx::query_as(
        "select * from monthly_statements
         where account_id = $1 and ($2::date is null or month < $2)
         order by month desc limit $3",
    )
    .bind(account_id)
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await
}
