use rand::{Rng as _, SeedableRng as _};

use super::*;

const LIMITS: BreakerLimits = BreakerLimits::DEFAULT;

fn fail(breaker: &mut Breaker, failure: Failure, now: Instant) -> bool {
    breaker.failed(failure, false, &LIMITS, now)
}

#[test]
fn failures_of_the_way_there_count_apart_from_those_of_the_replica() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    for _ in 0..2 {
        assert!(!fail(&mut breaker, Failure::Transport, now));
        assert!(!fail(&mut breaker, Failure::Status, now));
    }
    assert!(!fail(&mut breaker, Failure::Transport, now));
    assert!(!fail(&mut breaker, Failure::Transport, now));
    assert!(fail(&mut breaker, Failure::Transport, now));
    let mut breaker = Breaker::default();
    assert!(fail(&mut breaker, Failure::Refused, now));
}

#[test]
fn a_replica_is_not_left_out_for_connections_that_are_lost_now_and_then() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    for n in 0..1000 {
        // As when a proxy between closes what was idle: three in a row, then none for long.
        if n % 10 < 3 {
            assert!(!fail(&mut breaker, Failure::Transport, now), "{n}");
        } else {
            breaker.succeeded();
        }
    }
}

#[test]
fn half_of_the_calls_are_enough_even_if_never_three_in_a_row() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    let ejected_at = (0..20).find(|n| {
        if n % 2 == 0 {
            breaker.succeeded();
            false
        } else {
            fail(&mut breaker, Failure::Broken, now)
        }
    });
    assert_eq!(ejected_at, Some(9));
    let mut breaker = Breaker::default();
    for n in 0..200 {
        if n % 4 == 0 {
            assert!(!fail(&mut breaker, Failure::Status, now));
        } else {
            breaker.succeeded();
        }
    }
}

#[test]
fn trust_comes_back_by_one_call_on_trial_and_waits_longer_each_time() {
    let mut now = Instant::now();
    let mut breaker = Breaker::default();
    assert!(fail(&mut breaker, Failure::Refused, now));
    for seconds in [2, 4, 8, 16, 30, 30] {
        assert_eq!(breaker.trust(now), Trust::Open);
        now += Duration::from_secs(30);
        assert_eq!(breaker.trust(now), Trust::HalfOpen);
        breaker.try_again(&LIMITS, now);
        assert_eq!(breaker.trust(now), Trust::Open, "one at a time");
        assert!(fail(&mut breaker, Failure::Silent, now));
        let almost = now + Duration::from_secs(seconds) - Duration::from_millis(1);
        assert_eq!(breaker.trust(almost), Trust::Open);
    }
    now += Duration::from_secs(30);
    assert!(breaker.asked(1, false, &LIMITS, now) || breaker.trust(now) == Trust::Open);
    breaker.asked(0, false, &LIMITS, now);
    breaker.try_again(&LIMITS, now);
    assert!(breaker.succeeded());
    assert_eq!(breaker.trust(now), Trust::Closed);
}

#[test]
fn one_that_stands_still_is_left_out_and_again_while_its_trial_hangs() {
    let mut now = Instant::now();
    let mut breaker = Breaker::default();
    assert!(
        !breaker.stalled(true, &LIMITS, now),
        "the last one standing"
    );
    assert!(breaker.stalled(false, &LIMITS, now));
    assert!(
        !breaker.stalled(false, &LIMITS, now),
        "it is left out already"
    );
    now += LIMITS.first_backoff * 2;
    assert_eq!(breaker.trust(now), Trust::HalfOpen, "its health is well");
    breaker.try_again(&LIMITS, now);
    assert!(breaker.stalled(false, &LIMITS, now));
    assert_eq!(breaker.trust(now + LIMITS.first_backoff), Trust::Open);
}

#[test]
fn the_last_one_standing_is_never_ejected_whatever_happens() {
    for seed in 0..100 {
        let mut chance = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        for _ in 0..200 {
            now += Duration::from_millis(chance.random_range(0..500));
            let kinds = [
                Failure::Refused,
                Failure::Transport,
                Failure::Status,
                Failure::Silent,
                Failure::Broken,
            ];
            let kind = kinds[chance.random_range(0..kinds.len())];
            assert!(!breaker.failed(kind, true, &LIMITS, now));
            breaker.asked(chance.random_range(0..9), true, &LIMITS, now);
            assert_eq!(breaker.trust(now), Trust::Closed);
        }
    }
}

#[test]
fn the_last_one_standing_is_doubted_until_something_shows_that_it_is_well() {
    let now = Instant::now();
    let alone = |breaker: &mut Breaker, failure| {
        assert!(!breaker.failed(failure, true, &LIMITS, now));
    };
    // Whether it is reached, its own word tells.
    let mut breaker = Breaker::default();
    alone(&mut breaker, Failure::Refused);
    assert!(breaker.is_doubted());
    breaker.asked(0, true, &LIMITS, now);
    assert!(!breaker.is_doubted());
    for ill_for in 1..=LIMITS.failures {
        assert!(!breaker.is_doubted());
        breaker.asked(ill_for, true, &LIMITS, now);
    }
    assert!(breaker.is_doubted());
    breaker.asked(0, true, &LIMITS, now);
    assert!(!breaker.is_doubted());
    // Whether it answers calls, only a call does.
    for _ in 0..LIMITS.failures {
        assert!(!breaker.is_doubted());
        alone(&mut breaker, Failure::Silent);
    }
    breaker.asked(0, true, &LIMITS, now);
    assert!(breaker.is_doubted());
    breaker.succeeded();
    assert!(!breaker.is_doubted());
    breaker.stalled(true, &LIMITS, now);
    breaker.asked(0, true, &LIMITS, now);
    assert!(breaker.is_doubted());
    breaker.succeeded();
    assert!(!breaker.is_doubted());
}
