//! An engine that fails every other call.

use std::time::Duration;

use sqlx::PgPool;

use super::{Fault, Trial, WORKERS, at_most_one_in_a_thousand};
use crate::metrics::Metrics;

#[sqlx::test]
async fn an_engine_that_fails_half_of_its_calls_costs_no_client_anything(pool: PgPool) {
    let metrics = Metrics::collected();
    let trial = Trial::start(pool).await;
    let (seen, later) = trial.run(Fault::HalfErrors).await;
    at_most_one_in_a_thousand(&seen);
    assert!(trial.left_out(&metrics) >= 1.0);
    // Ten calls show it, while each client may have one on its way; it is trusted again twice at most.
    assert!(later <= 5 * WORKERS as u64, "{later} calls were sent to it");
}

#[sqlx::test]
async fn an_engine_that_fails_every_other_call_is_left_out_though_never_two_in_a_row_fail(
    pool: PgPool,
) {
    let metrics = Metrics::collected();
    let trial = Trial::start_with(pool, |sections| {
        // However slow the machine is: nothing else speaks against an engine.
        sections.engines.first_token_timeout = Duration::from_secs(60);
        sections.engines.stall_timeout = Duration::from_secs(60);
        sections.engines.probe_timeout = Duration::from_secs(60);
        // Once left out it stays so to the end.
        sections.engines.first_backoff = Duration::from_secs(600);
        sections.engines.longest_backoff = Duration::from_secs(600);
    })
    .await;
    let half = &trial.engines[0];
    half.set(Fault::HalfErrors).await;
    // One after the other: of what reaches the engine a call fails and a call does not, in turn.
    let call = async || {
        let got = trial.world.call(&trial.asked.1).await.unwrap();
        assert!(got.error.is_none(), "{got:?}");
    };
    for _ in 0..200 {
        call().await;
        if trial.left_out(&metrics) > 0.0 {
            break;
        }
    }
    // At least ten are known then, and the last of them failed.
    let reached = half.calls();
    assert!((10..=12).contains(&reached), "{reached}");
    assert_eq!(trial.left_out(&metrics), 1.0);
    for _ in 0..50 {
        call().await;
    }
    assert_eq!(half.calls(), reached, "it is left out");
}
