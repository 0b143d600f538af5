use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::{AccountId, OperatorId, OrderId};

/// A question about a purchase.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Case {
    /// The case.
    pub case_id: Uuid,
    /// Whose.
    pub account_id: AccountId,
    /// About an order, or
    pub order_id: Option<OrderId>,
    /// about a product.
    pub product_id: Option<String>,
    /// `question`, `not_provided`, `defect`.
    pub kind: String,
    /// What the customer wrote, sealed.
    pub words_sealed: Vec<u8>,
    /// The answer, sealed.
    pub answer_sealed: Option<Vec<u8>>,
    /// When it was asked.
    pub opened_at: DateTime<Utc>,
    /// When it was answered.
    pub answered_at: Option<DateTime<Utc>>,
    /// By whom.
    pub answered_by: Option<OperatorId>,
}

/// Writes a new case.
pub async fn insert(tx: &mut PgConnection, case: &Case) -> sqlx::Result<()> {
    sqlx::query(
        "insert into after_sales_cases
             (case_id, account_id, order_id, product_id, kind, words_sealed, opened_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(case.case_id)
    .bind(case.account_id)
    .bind(case.order_id)
    .bind(&case.product_id)
    .bind(&case.kind)
    .bind(&case.words_sealed)
    .bind(case.opened_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The case with this id, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Case>> {
    sqlx::query_as("select * from after_sales_cases where case_id = $1 for update")
        .bind(id)
        .fetch_optional(tx)
        .await
}

/// Writes the answer of a case that the transaction holds.
pub async fn answer(tx: &mut PgConnection, case: &Case) -> sqlx::Result<()> {
    sqlx::query(
        "update after_sales_cases set answer_sealed = $2, answered_at = $3, answered_by = $4
         where case_id = $1",
    )
    .bind(case.case_id)
    .bind(&case.answer_sealed)
    .bind(case.answered_at)
    .bind(case.answered_by)
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
) -> sqlx::Result<Vec<Case>> {
    sqlx::query_as(
        "select * from after_sales_cases
         where account_id = $1 and ($2::uuid is null or case_id < $2)
         order by case_id desc limit $3",
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
) -> sqlx::Result<Vec<Case>> {
    sqlx::query_as(
        "select * from after_sales_cases
         where answered_at is null and ($1::uuid is null or case_id > $1)
         order by case_id limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(tx)
    .await
}
