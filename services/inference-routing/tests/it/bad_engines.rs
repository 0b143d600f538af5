//! One of three engines goes wrong under load; clients see nothing of it before their first token.

mod engine;
mod half;
mod health;
mod transport;
mod whole_answers;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures::future::join_all;
use inference_routing::{config::Sections, domain::shape::Shape};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::time::Instant;

use crate::{
    metrics::Metrics,
    world::{World, chat, config},
};
use engine::{BadEngine, Fault};

const WORKERS: usize = 12;

/// What clients saw.
#[derive(Debug, Default)]
struct Seen {
    calls: AtomicU32,
    refused: AtomicU32,
    cut: AtomicU32,
}

struct Trial {
    world: World,
    engines: Vec<BadEngine>,
    /// What clients ask for.
    asked: (Shape, Value),
}

impl Trial {
    async fn start(pool: PgPool) -> Self {
        Self::start_with(pool, |sections| {
            sections.engines.first_token_timeout = Duration::from_millis(800);
        })
        .await
    }

    /// With some more settings changed.
    async fn start_with(pool: PgPool, change: impl FnOnce(&mut Sections)) -> Self {
        let mut engines = Vec::new();
        for _ in 0..3 {
            engines.push(BadEngine::start().await);
        }
        let urls: Vec<_> = engines.iter().map(|engine| engine.url.as_str()).collect();
        let addresses = config(&urls).models.remove(0).engines;
        let world = World::with(pool, |sections| {
            sections.models[0].engines = addresses;
            sections.engines.probe_every = Duration::from_millis(200);
            sections.engines.probe_timeout = Duration::from_millis(200);
            sections.engines.stall_timeout = Duration::from_millis(400);
            sections.engines.first_backoff = Duration::from_millis(300);
            sections.engines.slow_start = Duration::from_secs(1);
            change(sections);
        })
        .await;
        Self {
            world,
            engines,
            asked: (Shape::Chat, chat(true, json!({}))),
        }
    }

    /// With time enough for a first token that nobody should wait for.
    async fn start_patient(pool: PgPool) -> Self {
        Self::start_with(pool, |sections| {
            sections.engines.first_token_timeout = Duration::from_secs(60);
        })
        .await
    }

    /// Calls for so long, from as many clients as there are workers.
    async fn load(&self, long: Duration) -> Seen {
        self.load_from(WORKERS, long).await
    }

    async fn load_from(&self, workers: usize, long: Duration) -> Seen {
        let (seen, end) = (Seen::default(), Instant::now() + long);
        let (shape, body) = &self.asked;
        let workers = (0..workers).map(|_| async {
            while Instant::now() < end {
                seen.calls.fetch_add(1, Ordering::Relaxed);
                match self.world.call_as(*shape, body).await {
                    Err(error) => {
                        eprintln!("{error:?}");
                        seen.refused.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(got) if got.error.is_some() => {
                        seen.cut.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(_) => {}
                }
            }
        });
        join_all(workers).await;
        seen
    }

    /// Load with the fault, then until the engine is used again; answers what was seen with it and
    /// the calls that still reached the engine in its second half.
    async fn run(&self, fault: Fault) -> (Seen, u64) {
        self.load(Duration::from_millis(300)).await;
        let bad = &self.engines[0];
        bad.set(fault).await;
        let first = self.load(Duration::from_millis(1500)).await;
        let before = bad.calls();
        let second = self.load(Duration::from_millis(1500)).await;
        let later = bad.calls() - before;
        for (into, from) in [
            (&first.calls, &second.calls),
            (&first.refused, &second.refused),
            (&first.cut, &second.cut),
        ] {
            into.fetch_add(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        bad.set(Fault::Nothing).await;
        let (healed, calls) = (Instant::now(), bad.calls());
        while bad.calls() < calls + 20 {
            assert!(
                healed.elapsed() < Duration::from_secs(20),
                "{fault:?}: it is not trusted again"
            );
            self.load(Duration::from_millis(100)).await;
        }
        println!(
            "{fault:?}: {first:?}, {later} calls reached it in the second half, used again after {:?}",
            healed.elapsed()
        );
        (first, later)
    }
}

fn at_most_one_in_a_thousand(seen: &Seen) {
    let (calls, refused) = (
        seen.calls.load(Ordering::Relaxed),
        seen.refused.load(Ordering::Relaxed),
    );
    assert!(calls > 100 && refused * 1000 <= calls, "{seen:?}");
}

#[sqlx::test]
async fn an_engine_that_refuses_connections_costs_no_client_anything(pool: PgPool) {
    let (seen, _) = Trial::start(pool).await.run(Fault::Refuses).await;
    at_most_one_in_a_thousand(&seen);
}

#[sqlx::test]
async fn a_blackholed_engine_costs_no_client_its_answer(pool: PgPool) {
    let (seen, later) = Trial::start(pool).await.run(Fault::Blackholed).await;
    at_most_one_in_a_thousand(&seen);
    assert!(later <= 3, "{later} calls were sent into the hole");
}

#[sqlx::test]
async fn who_waits_for_a_blackholed_engine_is_answered_by_another(pool: PgPool) {
    let trial = Trial::start_patient(pool).await;
    trial.load(Duration::from_millis(300)).await;
    trial.engines[0].set(Fault::Blackholed).await;
    let begin = Instant::now();
    let seen = trial.load(Duration::from_millis(500)).await;
    let longest = begin.elapsed();
    at_most_one_in_a_thousand(&seen);
    // Three questions without an answer, 200 ms each, and what a busy machine adds.
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

#[sqlx::test]
async fn an_engine_that_hangs_and_says_that_it_is_well_costs_only_a_wait(pool: PgPool) {
    let trial = Trial::start_patient(pool).await;
    let begin = Instant::now();
    let (seen, later) = trial.run(Fault::Hangs).await;
    let took = begin.elapsed();
    at_most_one_in_a_thousand(&seen);
    assert!(later <= 5, "{later} calls were sent to it");
    // Nobody waited for the first token as long as one may.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[sqlx::test]
async fn an_engine_that_is_ten_times_slower_costs_no_client_its_answer(pool: PgPool) {
    let (seen, later) = Trial::start(pool).await.run(Fault::TenTimesSlower).await;
    at_most_one_in_a_thousand(&seen);
    let calls = u64::from(seen.calls.load(Ordering::Relaxed));
    // A third of them would be a sixth of all: the first half of the calls came before it was slow.
    assert!(later * 8 < calls, "{later} of {calls} went to the slow one");
}

#[sqlx::test]
async fn an_engine_that_cuts_its_streams_is_left_out(pool: PgPool) {
    let (seen, later) = Trial::start(pool).await.run(Fault::CutsStreams).await;
    at_most_one_in_a_thousand(&seen);
    // Those that had begun when it was found out, and those on trial.
    assert!(later <= 5, "{later} calls were sent to it");
    assert!(seen.cut.load(Ordering::Relaxed) <= 30, "{seen:?}");
}

#[sqlx::test]
async fn an_engine_that_sends_nonsense_costs_no_client_anything(pool: PgPool) {
    let (seen, _) = Trial::start(pool).await.run(Fault::Garbage).await;
    at_most_one_in_a_thousand(&seen);
    assert_eq!(seen.cut.load(Ordering::Relaxed), 0);
}

#[sqlx::test]
async fn an_engine_that_sends_no_usage_is_used_on(pool: PgPool) {
    let (seen, later) = Trial::start(pool).await.run(Fault::NoUsage).await;
    at_most_one_in_a_thousand(&seen);
    assert!(later > 10);
}

#[sqlx::test]
async fn an_engine_that_sends_its_events_in_pieces_is_used_on(pool: PgPool) {
    let (seen, later) = Trial::start(pool).await.run(Fault::InPieces).await;
    at_most_one_in_a_thousand(&seen);
    assert_eq!(seen.cut.load(Ordering::Relaxed), 0);
    assert!(later > 10);
}

#[sqlx::test]
async fn a_busy_engine_is_left_alone_as_long_as_it_wants(pool: PgPool) {
    let (seen, later) = Trial::start(pool).await.run(Fault::Busy).await;
    at_most_one_in_a_thousand(&seen);
    // It said one second: of a second and a half it saw the calls of two moments.
    assert!(later <= 2 * WORKERS as u64, "{later}");
}

/// Every engine goes wrong while so many clients call, each with so long for its first token: attempts are at
/// most a fifth more than calls, and there is a way back.
async fn storm(pool: PgPool, fault: Fault, clients: usize, first_token: Duration) {
    let trial = Trial::start_with(pool.clone(), |sections| {
        sections.engines.first_token_timeout = first_token;
    })
    .await;
    // Calls that run at the same time are all paid for beforehand.
    let (billing, account) = (&trial.world.billing, trial.world.caller.account_id);
    billing.give(account, 1_000_000_000_000);
    // Shortly: what is saved up for further attempts is to be little beside the calls of the storm.
    trial.load(Duration::from_millis(100)).await;
    for engine in &trial.engines {
        engine.set(fault).await;
    }
    let storm = trial.load_from(clients, Duration::from_secs(3)).await;
    let calls = storm.calls.load(Ordering::Relaxed);
    crate::world::wait_for("the final rows", async || {
        refused(&pool).await.0 == i64::from(storm.refused.load(Ordering::Relaxed))
    })
    .await;
    let (rows, attempts) = refused(&pool).await;
    println!("{fault:?}: {calls} calls, {rows} of them unanswered with {attempts} attempts");
    assert!(
        calls > 200 && attempts * 5 <= rows * 6,
        "{fault:?}: {attempts} of {rows}"
    );
    for engine in &trial.engines {
        engine.set(Fault::Nothing).await;
    }
    let begin = Instant::now();
    while trial.world.call(&chat(true, json!({}))).await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(5), "no way back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[sqlx::test]
async fn in_a_storm_attempts_are_at_most_a_fifth_more_than_calls(pool: PgPool) {
    storm(pool, Fault::Refuses, WORKERS, Duration::from_millis(800)).await;
}

#[sqlx::test]
async fn in_a_storm_of_engines_that_fail_attempts_are_as_few(pool: PgPool) {
    storm(pool, Fault::Fails, WORKERS, Duration::from_millis(800)).await;
}

#[sqlx::test]
async fn in_a_storm_of_blackholed_engines_attempts_are_as_few(pool: PgPool) {
    storm(pool, Fault::Blackholed, 60, Duration::from_millis(200)).await;
}

#[sqlx::test]
async fn in_a_storm_of_engines_that_hang_attempts_are_as_few(pool: PgPool) {
    storm(pool, Fault::Hangs, 60, Duration::from_millis(200)).await;
}

/// Every engine goes wrong: as long as that lasts each is shown as not well, the last one standing too, or no
/// alert would tell of it. Then all are well again.
async fn shown_as_they_are(pool: PgPool, fault: Fault) {
    let metrics = Metrics::collected();
    let trial = Trial::start(pool).await;
    let model = ("model", "test");
    let well = || metrics.sum("inference_routing_engine_well", &[model]);
    let all = trial.engines.len() as f64;
    let until = async |what: &str, are_well: f64| {
        let begin = Instant::now();
        while well() != are_well {
            let waited = begin.elapsed();
            assert!(waited < Duration::from_secs(60), "{fault:?}: {what}");
            trial.load(Duration::from_millis(100)).await;
        }
    };
    until("they are well", all).await;
    for engine in &trial.engines {
        engine.set(fault).await;
    }
    until("none is well", 0.0).await;
    trial.load(Duration::from_millis(500)).await;
    assert_eq!(well(), 0.0, "with calls");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(well(), 0.0, "without");
    for engine in &trial.engines {
        engine.set(Fault::Nothing).await;
    }
    until("they are well again", all).await;
    for to in ["ejected", "trusted"] {
        let changes = metrics.sum("inference_routing_engine_changes", &[model, ("to", to)]);
        assert!(changes >= 2.0, "{to}: {changes}");
    }
}

#[sqlx::test]
async fn engines_that_all_refuse_connections_are_shown_as_ill_and_then_as_well(pool: PgPool) {
    shown_as_they_are(pool, Fault::Refuses).await;
}

#[sqlx::test]
async fn engines_that_all_hang_are_shown_as_ill_and_then_as_well(pool: PgPool) {
    shown_as_they_are(pool, Fault::Hangs).await;
}

/// Calls that no engine answered, and their attempts.
async fn refused(pool: &PgPool) -> (i64, i64) {
    sqlx::query_as(
        "select count(*), coalesce(sum(attempts), 0)::bigint from calls where outcome = 3",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[sqlx::test]
async fn engines_join_and_leave_while_calls_run(pool: PgPool) {
    let (old, new) = (BadEngine::start().await, BadEngine::start().await);
    let file = std::env::temp_dir().join(format!("engines-{}", crate::world::id::<()>()));
    std::fs::write(&file, &old.url).unwrap();
    let source = format!("file:{}", file.display());
    let metrics = Metrics::collected();
    let world = World::with(pool, |sections| {
        sections.models[0].engines.truncate(1);
        sections.models[0].engines[0].url = source;
        sections.engines.discover_every = Duration::from_millis(50);
        sections.engines.slow_start = Duration::from_millis(100);
    })
    .await;
    let call = async || {
        world
            .call(&chat(true, json!({})))
            .await
            .map(|got| got.error)
    };
    crate::world::wait_for("the first engine", async || call().await.is_ok()).await;
    std::fs::write(&file, format!("{} draining\n{}", old.url, new.url)).unwrap();
    crate::world::wait_for("the second engine", async || {
        assert!(matches!(call().await, Ok(None)));
        new.calls() > 0
    })
    .await;
    let before = old.calls();
    for _ in 0..50 {
        assert!(matches!(call().await, Ok(None)));
    }
    assert_eq!(old.calls(), before, "it is draining");
    std::fs::write(&file, &old.url).unwrap();
    crate::world::wait_for("the first engine to come back", async || {
        assert!(matches!(call().await, Ok(None)));
        old.calls() > before
    })
    .await;
    std::fs::remove_file(&file).unwrap();
    assert!(
        matches!(call().await, Ok(None)),
        "a lost file changes nothing"
    );
    crate::world::wait_for("the lost file to be told", async || {
        metrics.sum("inference_routing_discovery_failures", &[]) >= 1.0
    })
    .await;
    let known = [("model", "test")];
    crate::world::wait_for("the engines to be counted", async || {
        metrics.sum("inference_routing_engines", &known) == 1.0
    })
    .await;
}
