//! The journal: nothing is sent that is not recorded.

use std::time::Duration;

use futures::StreamExt;
use inference_routing::{Error, commands::call_log};
use serde_json::json;
use sqlx::PgPool;

use crate::{
    metrics::Metrics,
    world::{World, billing::events, chat, id, rows, wait_for},
};

/// Locks the journal's table, so that nothing can be written.
async fn block(pool: &PgPool) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("lock table calls in exclusive mode")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx
}

#[sqlx::test]
async fn a_call_that_cannot_be_journalled_is_refused_and_costs_nothing(pool: PgPool) {
    let world = World::with(pool.clone(), |config| {
        config.journal.dispatch_timeout = Duration::from_millis(300);
    })
    .await;
    let blocked = block(&pool).await;
    let refused = world
        .call(&chat(true, json!({"tokens": 100, "delay_ms": 20})))
        .await;
    assert!(matches!(refused, Err(Error::JournalUnavailable)));
    wait_for("the engine to notice", async || {
        world.engine.only().cancelled
    })
    .await;
    // This one's row is not even tried: the writer is busy with the first.
    let refused = world.call(&chat(true, json!({"tokens": 1}))).await;
    assert!(matches!(refused, Err(Error::JournalUnavailable)));
    blocked.rollback().await.unwrap();
    // Whether or not the row came through in the end, nothing is billed, and it goes on.
    let got = world.call(&chat(true, json!({"tokens": 2}))).await.unwrap();
    rows::ended(&pool, &got.call_id).await;
    wait_for("no open call", async || open_calls(&pool).await == 0).await;
    for event in events(&pool).await {
        assert!(event.call_id == got.call_id || event.amount_nanos == 0);
        // What was never dispatched has no end to tell of.
        let row = rows::find(&pool, &event.call_id).await;
        assert!(row.is_some_and(|row| row.outcome != 0));
    }
}

#[sqlx::test]
async fn no_frame_leaves_before_the_dispatch_row_is_durable(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let blocked = block(&pool).await;
    let body = chat(true, json!({"tokens": 3}));
    let call = world.begin(&body);
    tokio::pin!(call);
    tokio::select! {
        _ = &mut call => panic!("a frame left"),
        () = tokio::time::sleep(Duration::from_millis(300)) => {}
    }
    assert_eq!(world.engine.only().sent, 3, "the engine works meanwhile");
    blocked.rollback().await.unwrap();
    let reply = call.await.unwrap();
    let row = rows::find(&pool, &reply.call_id.to_string()).await;
    assert!(row.is_some(), "durable before its first frame");
}

#[sqlx::test]
async fn the_last_frame_waits_for_the_final_row_and_an_error_takes_its_place(pool: PgPool) {
    let world = World::with(pool.clone(), |config| {
        config.journal.final_timeout = Duration::from_millis(300);
    })
    .await;
    let reply = world
        .begin(&chat(true, json!({"tokens": 3, "delay_ms": 50})))
        .await
        .unwrap();
    let blocked = block(&pool).await;
    let got = crate::world::read(reply).await;
    assert_eq!(got.frames.len(), 3, "all but the last");
    assert_eq!(got.error.unwrap()["error"]["code"], "journal_unavailable");
    blocked.rollback().await.unwrap();
    // The writer does not give up: the answer is billed.
    assert_eq!(rows::ended(&pool, &got.call_id).await.output_tokens, 3);
}

#[sqlx::test]
async fn what_was_sent_is_recorded_on_the_way(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let script = json!({"tokens": 400, "delay_ms": 1});
    let mut body = chat(true, script);
    body["max_tokens"] = json!(500);
    let mut reply = world.begin(&body).await.unwrap();
    let call = reply.call_id.to_string();
    for _ in 0..200 {
        reply.next().await.unwrap().unwrap();
    }
    wait_for("progress", async || {
        rows::find(&pool, &call)
            .await
            .unwrap()
            .progress_output
            .is_some_and(|sent| sent >= 136)
    })
    .await;
    assert!(
        rows::find(&pool, &call)
            .await
            .unwrap()
            .progress_output
            .unwrap()
            <= 200
    );
}

#[sqlx::test]
async fn a_slow_answer_is_recorded_by_time(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let mut reply = world
        .begin(&chat(true, json!({"tokens": 5, "hang_after": 2})))
        .await
        .unwrap();
    let call = reply.call_id.to_string();
    reply.next().await.unwrap().unwrap();
    reply.next().await.unwrap().unwrap();
    wait_for("progress", async || {
        rows::find(&pool, &call).await.unwrap().progress_output == Some(2)
    })
    .await;
}

#[sqlx::test]
async fn lost_connections_are_made_again_and_nothing_is_billed_twice(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let body = chat(true, json!({"tokens": 40, "delay_ms": 10}));
    let calls = (0..30).map(|_| world.call(&body));
    let breaking = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(80)).await;
            sqlx::query(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()",
            )
            .execute(&pool)
            .await
            .ok();
        }
    };
    let (results, ()) = futures::join!(futures::future::join_all(calls), breaking);
    for got in results.into_iter().map(Result::unwrap) {
        assert_eq!((got.error, got.frames.len()), (None, 41));
        assert_eq!(rows::ended(&pool, &got.call_id).await.output_tokens, 40);
    }
}

#[sqlx::test]
async fn a_row_that_the_database_never_takes_is_told_and_only_its_call_has_no_bill(pool: PgPool) {
    let metrics = Metrics::collected();
    let world = World::start(pool.clone()).await;
    sqlx::query("alter table calls add constraint calls_test_check check (output_tokens <> 3)")
        .execute(&pool)
        .await
        .unwrap();
    let [odd, other] = [3, 2].map(|tokens| chat(true, json!({"tokens": tokens})));
    let (odd, other) = tokio::join!(world.call(&odd), world.call(&other));
    let (odd, other) = (odd.unwrap(), other.unwrap());
    assert_eq!(odd.error.unwrap()["error"]["code"], "journal_unavailable");
    assert_eq!(other.error, None);
    assert_eq!(rows::ended(&pool, &other.call_id).await.output_tokens, 2);
    let open = rows::find(&pool, &odd.call_id).await.unwrap();
    assert_eq!(open.outcome, 0, "recovery closes it");
    let told = metrics.sum("inference_routing_journal_rows_refused", &[]);
    assert_eq!(told, 1.0);
    // Those after it are written as ever.
    let got = world.call(&chat(true, json!({"tokens": 4}))).await.unwrap();
    assert_eq!(rows::ended(&pool, &got.call_id).await.output_tokens, 4);
    let told = metrics.sum("inference_routing_journal_rows_refused", &[]);
    assert_eq!(told, 1.0);
}

#[sqlx::test]
async fn the_call_log_shows_an_account_its_own_calls_only(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let mut calls = Vec::new();
    for _ in 0..3 {
        let got = world.call(&chat(true, json!({"tokens": 1}))).await.unwrap();
        rows::ended(&pool, &got.call_id).await;
        calls.insert(0, got.call_id);
    }
    let account = world.caller.account_id;
    let call = call_log::get_call(&pool, account, &calls[0]).await.unwrap();
    assert_eq!((call.outcome, call.output_tokens), (1, 1));
    let other = call_log::get_call(&pool, id(), &calls[0]).await;
    assert!(matches!(other, Err(Error::NotFound)));
    let bad = call_log::get_call(&pool, account, "x").await;
    assert!(matches!(bad, Err(Error::InvalidArgument { .. })));

    let first = call_log::list_calls(&pool, account, 2, "").await.unwrap();
    let token = first.next_page_token.clone();
    let rest = call_log::list_calls(&pool, account, 2, &token)
        .await
        .unwrap();
    let listed: Vec<String> = first
        .items
        .iter()
        .chain(&rest.items)
        .map(|call| call.call_id.to_string())
        .collect();
    assert_eq!((listed, rest.next_page_token.as_str()), (calls, ""));
    assert!(
        call_log::list_calls(&pool, id(), 2, "")
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

async fn open_calls(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from calls where outcome = 0")
        .fetch_one(pool)
        .await
        .unwrap()
}
