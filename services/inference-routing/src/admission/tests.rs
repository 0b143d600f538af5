use uuid::Uuid;

use super::*;
use crate::{
    domain::{
        breaker::BreakerLimits,
        limits::Priority,
        placement::{Ending, PlacementLimits, Policy, Prompt},
    },
    engine::{at_work::AtWork, pool::Named},
};

fn admission(running: usize, per_account: usize, waiting: usize) -> Arc<Admission> {
    let config = ChatConfig {
        max_running: running,
        max_running_per_account: per_account,
        max_waiting: waiting,
        queue_timeout: Duration::from_millis(50),
        retry_after: Duration::from_secs(1),
        begin_after: Duration::from_secs(10),
        stall_timeout: Duration::from_secs(60),
        least_output_tokens: 1,
        progress_tokens: 64,
        progress_every: Duration::from_millis(250),
    };
    Admission::new(&config, None, one_engine())
}

fn one_engine() -> Arc<Pool> {
    let limits = PlacementLimits {
        breaker: BreakerLimits {
            failures: 3,
            transport_failures: 5,
            first_backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(30),
        },
        stall: Duration::from_secs(20),
        slow_start: Duration::from_secs(30),
        blocks: 100,
    };
    let pool = Pool::new("test", Policy::LeastOfTwo, limits, 1);
    let engine = Named {
        url: "http://127.0.0.1:1".to_owned(),
        draining: false,
    };
    pool.name(0, &[engine], None, Instant::now().into_std());
    Arc::new(pool)
}

/// The engine of these places gets a call.
fn asked(admission: &Admission) -> AtWork {
    let now = Instant::now().into_std();
    let chosen = admission.pool.pick(&Prompt::default(), &[], now);
    chosen.unwrap()
}

/// Places for an engine that runs one call, and has no room for another.
fn full() -> (Arc<Admission>, AtWork) {
    let admission = admission(100, 100, 100);
    let running = asked(&admission);
    asked(&admission).end(Ending::Full);
    (admission, running)
}

fn turn(n: u128) -> Turn {
    Turn {
        account: AccountId::from_uuid(Uuid::from_u128(n)),
        app: AppId::from_uuid(Uuid::from_u128(9)),
        account_priority: Priority::Normal,
        key_priority: Priority::Normal,
        again: false,
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(50)
}

fn late() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[tokio::test]
async fn a_place_is_given_on_when_it_comes_free() {
    let admission = admission(1, 1, 2);
    let place = admission.enter(turn(1), soon()).await.unwrap();
    let next = tokio::spawn({
        let admission = admission.clone();
        async move { admission.enter(turn(2), soon()).await.map(drop) }
    });
    tokio::task::yield_now().await;
    drop(place);
    assert_eq!(next.await.unwrap(), Ok(()));
    assert!(admission.enter(turn(3), soon()).await.is_ok());
}

#[tokio::test]
async fn one_account_cannot_take_every_place() {
    let admission = admission(3, 1, 2);
    let _place = admission.enter(turn(1), soon()).await.unwrap();
    assert!(admission.enter(turn(1), soon()).await.is_err());
    assert!(admission.enter(turn(2), soon()).await.is_ok());
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_says_when_to_come_again() {
    let admission = admission(1, 1, 1);
    let _place = admission.enter(turn(1), soon()).await.unwrap();
    let waiting = admission.enter(turn(2), soon());
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    let started = std::time::Instant::now();
    let busy = admission.enter(turn(3), soon()).await.unwrap_err();
    assert_eq!(busy.retry_after, Duration::from_secs(1));
    assert!(started.elapsed() < Duration::from_millis(40));
}

#[tokio::test]
async fn those_that_went_away_while_they_waited_get_no_place() {
    let admission = admission(1, 100, 100_000);
    let place = admission.enter(turn(1), soon()).await.unwrap();
    for _ in 0..10_000 {
        let waiting = admission.enter(turn(1), soon());
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
    }
    drop(place);
    assert_eq!(admission.load(), (0, 0));
}

#[tokio::test]
async fn while_engines_are_full_calls_wait_and_each_that_ends_there_lets_one_run() {
    let (admission, running) = full();
    assert!(admission.enter(turn(1), soon()).await.is_err(), "no room");
    let (first, second) = (
        admission.enter(turn(1), late()),
        admission.enter(turn(2), late()),
    );
    tokio::pin!(first, second);
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    running.end(Ending::Well);
    let mut place = first.await.unwrap();
    // Room is kept for its call until the engine has it.
    assert!(futures::poll!(&mut second).is_pending());
    let running = asked(&admission);
    place.arrived();
    assert!(futures::poll!(&mut second).is_pending());
    // Its place is the router's only: the engine has room when the call has ended there.
    running.end(Ending::Well);
    let _second = second.await.unwrap();
    assert_eq!(admission.load(), (2, 0));
}

#[tokio::test]
async fn room_that_was_kept_for_a_call_that_needs_none_is_given_on() {
    let (admission, running) = full();
    running.end(Ending::Well);
    let mut place = admission.enter(turn(1), soon()).await.unwrap();
    let next = admission.enter(turn(2), late());
    tokio::pin!(next);
    assert!(futures::poll!(&mut next).is_pending());
    place.arrived();
    assert!(next.await.is_ok());
}

#[tokio::test]
async fn an_engine_that_wants_to_be_left_alone_is_waited_for_and_no_longer() {
    let admission = admission(100, 100, 100);
    let begin = Instant::now();
    let wait = Duration::from_secs(1);
    asked(&admission).end(Ending::Busy(wait));
    let opens = admission.opens().unwrap();
    assert!(opens >= begin + wait, "it is known when");
    let busy = admission.enter(turn(1), soon()).await.unwrap_err();
    assert_eq!(busy.retry_after, wait);
    assert!(admission.enter(turn(1), late()).await.is_ok());
    let waited = begin.elapsed();
    assert!(waited >= wait && waited < wait * 5, "{waited:?}");
}

#[test]
fn the_wait_that_a_refused_call_is_told_follows_the_pace() {
    let mut pace = Pace::default();
    let mut now = Instant::now();
    for _ in 0..200 {
        now += Duration::from_secs(3);
        pace.ended(100, true, now);
    }
    assert!((pace.interval - 3.0).abs() < 0.01, "{pace:?}");
    assert!((pace.tokens - 100.0).abs() < 0.01, "{pace:?}");
    // A pause in which nobody waited says nothing of the pace.
    pace.ended(100, false, now + Duration::from_secs(600));
    assert!(pace.interval < 3.1, "{pace:?}");
}
