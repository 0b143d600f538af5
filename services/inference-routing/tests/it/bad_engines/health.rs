//! An engine that would answer every call and says that it is not well.

use std::{sync::atomic::Ordering, time::Duration};

use sqlx::PgPool;
use tokio::time::Instant;

use super::{BadEngine, Fault, Trial};
use crate::{metrics::Metrics, world::wait_for};

#[sqlx::test]
async fn an_engine_that_says_it_is_ill_gets_no_call_until_it_says_that_it_is_well(pool: PgPool) {
    let metrics = Metrics::collected();
    let trial = Trial::start_with(pool, |sections| {
        sections.models[0].health_path = "/ready".to_owned();
        // However slow the machine is: nothing else speaks against an engine.
        sections.engines.first_token_timeout = Duration::from_secs(60);
        sections.engines.stall_timeout = Duration::from_secs(60);
        sections.engines.probe_timeout = Duration::from_secs(60);
    })
    .await;
    let ill = &trial.engines[0];
    let well = || metrics.sum("inference_routing_engine_well", &[("model", "test")]);
    let changed = |to| {
        let of_ill = [("engine", ill.url.as_str()), ("to", to)];
        metrics.sum("inference_routing_engine_changes", &of_ill)
    };
    wait_for("all to be well", async || well() == 3.0).await;

    // Nobody calls: that it is left out comes of what it says alone.
    ill.set(Fault::SaysIll).await;
    wait_for("it to be left out", async || {
        let is_left_out = changed("ejected") == 1.0;
        assert!(!is_left_out || ill.said_ill() >= 3, "too early");
        is_left_out
    })
    .await;
    let said = ill.said_ill();
    assert!(said <= 5, "{said}: too late");
    wait_for("it to be shown", async || well() == 2.0).await;
    let calls: u64 = trial.engines.iter().map(BadEngine::calls).sum();
    assert_eq!(calls, 0);

    // Longer than it is left out at first: while it says so no call is on trial.
    let seen = trial.load(Duration::from_secs(1)).await;
    let [calls, refused, cut] =
        [&seen.calls, &seen.refused, &seen.cut].map(|calls| calls.load(Ordering::Relaxed));
    assert!(calls > 20 && (refused, cut) == (0, 0), "{seen:?}");
    assert_eq!(ill.calls(), 0);

    ill.set(Fault::Nothing).await;
    let mended = Instant::now();
    while ill.calls() < 20 {
        let waited = mended.elapsed();
        assert!(waited < Duration::from_secs(20), "it is not used again");
        trial.load(Duration::from_millis(100)).await;
    }
    wait_for("it to be shown as well", async || well() == 3.0).await;
    assert_eq!((changed("ejected"), changed("trusted")), (1.0, 1.0));
}
