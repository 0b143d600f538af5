use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use sqlx::{PgConnection, PgPool};
use wanwu_events::{Handler, HandlerError};
use wanwu_proto::inference::v1::UsageRecorded;
use wanwu_testkit::wait_for;

use crate::bench::{Bench, PATIENCE};

/// Takes many at once, and refuses what is called so.
#[derive(Clone, Default)]
struct Together {
    refused: &'static [&'static str],
    largest: Arc<AtomicI64>,
}

impl Handler<UsageRecorded> for Together {
    const BATCH: usize = 32;

    async fn handle(&self, tx: &mut PgConnection, one: UsageRecorded) -> Result<(), HandlerError> {
        self.handle_all(tx, vec![one]).await
    }

    async fn handle_all(
        &self,
        tx: &mut PgConnection,
        events: Vec<UsageRecorded>,
    ) -> Result<(), HandlerError> {
        let count = i64::try_from(events.len()).unwrap();
        self.largest.fetch_max(count, Ordering::SeqCst);
        let ids: Vec<_> = events.into_iter().map(|event| event.call_id).collect();
        sqlx::query("insert into effects (call_id) select unnest($1::text[])")
            .bind(&ids)
            .execute(tx)
            .await?;
        if ids.iter().any(|id| self.refused.contains(&&**id)) {
            return Err(HandlerError::reject("never"));
        }
        Ok(())
    }
}

#[sqlx::test(migrations = false)]
async fn events_that_wait_are_applied_together_and_once(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let handler = Together::default();
    bench.tell(0, 300).await;
    bench.relay();
    bench.relay();
    bench.consume_with(handler.clone());
    bench.wait_for_effects(300).await;
    let again = "update outbox set published_at = null, leased_until = null";
    sqlx::query(again).execute(&bench.pool).await.unwrap();
    bench.consume_with(handler.clone());
    bench.tell(300, 100).await;
    bench.wait_for_effects(400).await;
    wait_for("the outbox to empty", PATIENCE, || async {
        bench.pending().await == 0
    })
    .await;
    bench.wait_for_effects(400).await;
    assert_eq!(bench.count("select count(*) from inbox").await, 400);
    let largest = handler.largest.load(Ordering::SeqCst);
    assert!((2..=32).contains(&largest), "{largest} at once");
    bench.end().await;
}

#[sqlx::test(migrations = false)]
async fn one_that_is_refused_keeps_no_other_from_its_effect(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let handler = Together {
        refused: &["call-3", "call-77"],
        ..Together::default()
    };
    bench.tell(0, 100).await;
    bench.relay();
    bench.consume_with(handler);
    bench.wait_for_effects(98).await;
    wait_for("the dead letters", PATIENCE, || async {
        bench.count("select count(*) from dead_letters").await == 2
    })
    .await;
    assert_eq!(bench.count("select count(*) from inbox_retries").await, 0);
    assert_eq!(bench.count("select count(*) from inbox").await, 98);
    bench.end().await;
}
