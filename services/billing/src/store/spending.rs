use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use wanwu_ids::AccountId;

/// What an account spent with calls in the calendar month before, or in this one so far (China
/// Standard Time), whichever is more, in 10^-9 CNY.
pub async fn higher_month(
    tx: &mut PgConnection,
    account_id: AccountId,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select coalesce(max(spent_nanos), 0)::bigint from monthly_spending
         where account_id = $1 and month <= $2 at time zone 'Asia/Shanghai'
           and month >= date_trunc('month', $2 at time zone 'Asia/Shanghai') - interval '1 month'",
    )
    .bind(account_id)
    .bind(now)
    .fetch_one(tx)
    .await
}
