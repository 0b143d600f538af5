//! What stands in the journal.

use sqlx::PgPool;
use wanwu_proto::inference::v1::UsageRecorded;

use super::{INPUT_PRICE, OUTPUT_PRICE, billing::events, wait_for};

/// A row of `calls`.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct CallRow {
    pub outcome: i16,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub amount_nanos: i64,
    pub usage_source: Option<String>,
    pub attempts: i16,
    pub progress_output: Option<i64>,
}

/// The row of a call, when there is one.
pub async fn find(pool: &PgPool, call: &str) -> Option<CallRow> {
    sqlx::query_as(
        "select outcome, input_tokens, output_tokens, amount_nanos, usage_source, attempts,
             progress_output
         from calls where call_id = $1::uuid",
    )
    .bind(call)
    .fetch_optional(pool)
    .await
    .unwrap()
}

/// The final row of a call, when it is there; checked against its one event.
pub async fn ended(pool: &PgPool, call: &str) -> CallRow {
    wait_for("a final row", async || {
        find(pool, call).await.is_some_and(|r| r.outcome != 0)
    })
    .await;
    let row = find(pool, call).await.unwrap();
    let of_call: Vec<UsageRecorded> = events(pool)
        .await
        .into_iter()
        .filter(|event| event.call_id == call)
        .collect();
    let [event] = of_call.as_slice() else {
        panic!("{} events", of_call.len())
    };
    assert_eq!(
        (event.input_tokens, event.output_tokens, event.amount_nanos),
        (row.input_tokens, row.output_tokens, row.amount_nanos)
    );
    assert_eq!(
        row.amount_nanos,
        row.input_tokens * INPUT_PRICE + row.output_tokens * OUTPUT_PRICE
    );
    assert_eq!(
        (event.price_version, Some(&event.usage_source)),
        (7, row.usage_source.as_ref())
    );
    row
}

/// How many calls there are.
pub async fn count(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from calls")
        .fetch_one(pool)
        .await
        .unwrap()
}
