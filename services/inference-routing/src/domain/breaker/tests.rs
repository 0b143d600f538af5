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
fn a_question_that_is_lost_counts_only_while_nothing_comes_of_calls() {
    let now = Instant::now();
    for seed in 0..200 {
        let mut chance = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
        let mut breaker = Breaker::default();
        for n in 0..200 {
            // As often in a row as nobody would believe, were there no calls.
            for _ in 0..chance.random_range(0..LIMITS.transport_failures) {
                assert!(!breaker.asked(Health::Lost, false, &LIMITS, now));
            }
            match chance.random_range(0..3) {
                0 => breaker.came(),
                1 => assert!(!breaker.succeeded()),
                _ => assert!(!breaker.asked(Health::Well, false, &LIMITS, now)),
            }
            assert_eq!(breaker.trust(now), Trust::Closed, "seed {seed}, {n}");
        }
        // Then nothing comes any more; now and then it says that it is ill.
        let (mut ill, mut lost, mut ejected) = (0, 0, false);
        while !ejected {
            let says_ill = ill + 1 < LIMITS.failures && chance.random_range(0..4) == 0;
            let (count, health) = match says_ill {
                true => (&mut ill, Health::Ill),
                false => (&mut lost, Health::Lost),
            };
            *count += 1;
            ejected = breaker.asked(health, false, &LIMITS, now);
        }
        assert_eq!(lost, LIMITS.transport_failures, "seed {seed}");
    }
}

#[test]
fn a_replica_that_is_ill_is_left_out_though_calls_succeed_and_questions_are_lost_between() {
    let now = Instant::now();
    for seed in 0..200 {
        let mut chance = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
        let (mut breaker, mut ill, mut ejected) = (Breaker::default(), 0, false);
        while !ejected && ill < LIMITS.failures {
            breaker.succeeded();
            let says_ill: bool = chance.random();
            let health = if says_ill { Health::Ill } else { Health::Lost };
            ill += u32::from(says_ill);
            ejected = breaker.asked(health, false, &LIMITS, now);
        }
        assert_eq!((ejected, ill), (true, LIMITS.failures), "seed {seed}");
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
    for health in [Health::Ill, Health::Lost] {
        assert!(!breaker.asked(health, false, &LIMITS, now));
        assert_eq!(breaker.trust(now), Trust::Open, "{health:?}");
    }
    breaker.asked(Health::Well, false, &LIMITS, now);
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
            let health = [Health::Well, Health::Ill, Health::Lost][chance.random_range(0..3)];
            assert!(!breaker.asked(health, true, &LIMITS, now));
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
    breaker.asked(Health::Well, true, &LIMITS, now);
    assert!(!breaker.is_doubted());
    for (health, times) in [
        (Health::Ill, LIMITS.failures),
        (Health::Lost, LIMITS.transport_failures),
    ] {
        for _ in 0..times {
            assert!(!breaker.is_doubted());
            breaker.asked(health, true, &LIMITS, now);
        }
        assert!(breaker.is_doubted());
        breaker.asked(Health::Well, true, &LIMITS, now);
        assert!(!breaker.is_doubted());
    }
    // Whether it answers calls, only a call does.
    for _ in 0..LIMITS.failures {
        assert!(!breaker.is_doubted());
        alone(&mut breaker, Failure::Silent);
    }
    breaker.asked(Health::Well, true, &LIMITS, now);
    assert!(breaker.is_doubted());
    breaker.succeeded();
    assert!(!breaker.is_doubted());
    breaker.stalled(true, &LIMITS, now);
    breaker.asked(Health::Well, true, &LIMITS, now);
    assert!(breaker.is_doubted());
    breaker.succeeded();
    assert!(!breaker.is_doubted());
}
