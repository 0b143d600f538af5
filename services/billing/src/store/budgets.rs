use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::{AccountId, AppId, KeyId};

use crate::domain::budget::{Budget, Period, Subject, Used};

/// A budget and when it was set.
#[derive(Clone, Copy, Debug)]
pub struct StoredBudget {
    /// The budget.
    pub budget: Budget,
    /// When it was set.
    pub changed_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct Row {
    budget_id: Uuid,
    app_id: Option<AppId>,
    key_id: Option<KeyId>,
    amount_nanos: i64,
    period: String,
    first_day: NaiveDate,
    changed_at: DateTime<Utc>,
}

impl TryFrom<Row> for StoredBudget {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let app = row.app_id.map(Subject::App);
        let subject = app.or(row.key_id.map(Subject::Key));
        let subject = subject.ok_or_else(|| sqlx::Error::Decode("a budget of nobody".into()))?;
        let period = Period::from_stored(&row.period);
        let budget = Budget {
            budget_id: row.budget_id,
            subject,
            amount: row.amount_nanos,
            period: period.ok_or_else(|| sqlx::Error::Decode("unknown period".into()))?,
            first_day: row.first_day,
        };
        Ok(Self {
            budget,
            changed_at: row.changed_at,
        })
    }
}

/// Sets the budget of a subject; the first day of one that was there stays.
pub async fn set(
    tx: &mut PgConnection,
    account_id: AccountId,
    budget: &Budget,
    now: DateTime<Utc>,
) -> sqlx::Result<StoredBudget> {
    let row: Row = sqlx::query_as(
        "insert into budgets (budget_id, account_id, app_id, key_id, amount_nanos, period, first_day,
             changed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict on constraint budgets_subject_key do update set
             amount_nanos = excluded.amount_nanos, period = excluded.period,
             changed_at = excluded.changed_at
         returning budget_id, app_id, key_id, amount_nanos, period, first_day, changed_at",
    )
    .bind(budget.budget_id)
    .bind(account_id)
    .bind(budget.subject.app_id())
    .bind(budget.subject.key_id())
    .bind(budget.amount)
    .bind(budget.period.as_str())
    .bind(budget.first_day)
    .bind(now)
    .fetch_one(tx)
    .await?;
    row.try_into()
}

/// Takes the budget of a subject away.
pub async fn remove(
    tx: &mut PgConnection,
    account_id: AccountId,
    subject: Subject,
) -> sqlx::Result<()> {
    sqlx::query(
        "delete from budgets where account_id = $1 and app_id is not distinct from $2
             and key_id is not distinct from $3",
    )
    .bind(account_id)
    .bind(subject.app_id())
    .bind(subject.key_id())
    .execute(tx)
    .await?;
    Ok(())
}

/// Every budget of an account, apps first.
pub async fn of_account(
    tx: &mut PgConnection,
    account_id: AccountId,
) -> sqlx::Result<Vec<StoredBudget>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select budget_id, app_id, key_id, amount_nanos, period, first_day, changed_at
         from budgets where account_id = $1 order by app_id nulls last, key_id",
    )
    .bind(account_id)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Lets one at a time change the budgets of an account, until the transaction ends.
pub async fn lock_account(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('budgets:' || $1::text, 0))")
        .bind(account_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// The budgets that a call of an app and a key must be within, locked until the transaction ends:
/// who lends within a budget is alone with it.
pub async fn lock(
    tx: &mut PgConnection,
    account_id: AccountId,
    app_id: AppId,
    key_id: KeyId,
) -> sqlx::Result<Vec<Budget>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select budget_id, app_id, key_id, amount_nanos, period, first_day, changed_at
         from budgets where account_id = $1 and (app_id = $2 or key_id = $3)
         order by budget_id for update",
    )
    .bind(account_id)
    .bind(app_id)
    .bind(key_id)
    .fetch_all(tx)
    .await?;
    let stored = rows.into_iter().map(StoredBudget::try_from);
    stored
        .map(|stored| stored.map(|stored| stored.budget))
        .collect()
}

/// Whether an account has any.
pub async fn any(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from budgets where account_id = $1)")
        .bind(account_id)
        .fetch_one(tx)
        .await
}

/// What is used of a budget today, at one instant: a call that is settled moves from the one to the
/// other in its transaction.
pub async fn used(
    tx: &mut PgConnection,
    account_id: AccountId,
    budget: &Budget,
    today: NaiveDate,
) -> sqlx::Result<Used> {
    let sql = match budget.subject {
        Subject::App(_) => {
            "select
                 (select coalesce(sum(amount_nanos), 0)::bigint from usage_days
                  where account_id = $1 and app_id = $2 and day >= $3),
                 (select coalesce(sum(amount_nanos - settled_nanos), 0)::bigint from leases
                  where account_id = $1 and state <> 'freed' and app_id = $2)"
        }
        Subject::Key(_) => {
            "select
                 (select coalesce(sum(amount_nanos), 0)::bigint from usage_days
                  where account_id = $1 and key_id = $2 and day >= $3),
                 (select coalesce(sum(amount_nanos - settled_nanos), 0)::bigint from leases
                  where account_id = $1 and state <> 'freed' and key_id = $2)"
        }
    };
    let id = match budget.subject {
        Subject::App(id) => id.uuid(),
        Subject::Key(id) => id.uuid(),
    };
    let (spent, leased) = sqlx::query_as(sql)
        .bind(account_id)
        .bind(id)
        .bind(budget.counts_from(today))
        .fetch_one(tx)
        .await?;
    Ok(Used { spent, leased })
}
