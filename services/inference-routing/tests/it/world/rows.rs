//! What stands in the journal.

use serde_json::Value;
use sqlx::PgPool;
use wanwu_proto::{billing::v1::UnitCount, inference::v1::UsageRecorded};

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
    pub parts: Option<Value>,
}

/// The row of a call, when there is one.
pub async fn find(pool: &PgPool, call: &str) -> Option<CallRow> {
    sqlx::query_as(
        "select outcome, input_tokens, output_tokens, amount_nanos, usage_source, attempts,
             progress_output, parts
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
    if row.parts.is_none() {
        assert_eq!(
            row.amount_nanos,
            row.input_tokens * INPUT_PRICE + row.output_tokens * OUTPUT_PRICE
        );
    }
    assert_eq!(told_parts(event), row.parts);
    assert_eq!(
        (
            event.price_version,
            event.price_tier,
            Some(&event.usage_source)
        ),
        (7, 2, row.usage_source.as_ref())
    );
    row
}

/// The parts that an event tells, as a row keeps them.
fn told_parts(event: &UsageRecorded) -> Option<Value> {
    let part = |part: &UnitCount| {
        let name = part.unit().as_str_name().to_lowercase();
        (name.replace("unit_", ""), part.count.into())
    };
    let parts: serde_json::Map<_, _> = event.parts.iter().map(part).collect();
    (!parts.is_empty()).then_some(parts.into())
}

/// How many calls there are.
pub async fn count(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from calls")
        .fetch_one(pool)
        .await
        .unwrap()
}
