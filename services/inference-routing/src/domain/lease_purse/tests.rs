use rand::{Rng as _, SeedableRng as _};
use uuid::Uuid;

use wanwu_ids::Id;

use super::*;

const TERMS: Terms = Terms {
    expiry: Duration::from_secs(30),
    idle: Duration::from_secs(5),
};

fn table() -> Arc<PriceTable> {
    let prices = Prices::tokens(1, 2, 10);
    Arc::new(PriceTable {
        version: 1,
        models: [("m".to_owned(), prices)].into(),
    })
}

fn ask(input: u64, output: u64, least_output: u64) -> Ask {
    Ask {
        class: Class {
            app: Id::from_uuid(Uuid::nil()),
            key: Id::from_uuid(Uuid::nil()),
            model: "m".to_owned(),
        },
        input,
        answers: 1,
        output,
        least_output,
    }
}

fn purse() -> LeasePurse {
    let mut purse = LeasePurse::default();
    purse.scopes().all_wide();
    purse
}

fn lease(n: u128) -> LeaseId {
    LeaseId::from_uuid(Uuid::from_u128(n))
}

#[test]
fn holds_never_exceed_the_grant_whatever_the_calls_cost() {
    for seed in 0..300 {
        let mut chance = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
        let mut purse = purse();
        let mut now = Instant::now();
        let mut granted = 0;
        let mut running: Vec<Held> = Vec::new();
        let mut spent = 0;
        for step in 0..200_u128 {
            now += Duration::from_millis(chance.random_range(0..2_000));
            match chance.random_range(0..6) {
                0 => {
                    let amount = chance.random_range(0..5_000);
                    granted += amount;
                    purse.put(lease(step), amount, table(), Scope::default(), now);
                }
                1 | 2 => {
                    let ask = ask(chance.random_range(0..300), chance.random_range(1..200), 1);
                    let held = purse.hold(&ask, TERMS, now).ok();
                    running.extend(held.or_else(|| purse.hold_less(&ask, TERMS, now)));
                }
                3 if !running.is_empty() => {
                    let held = running.swap_remove(chance.random_range(0..running.len()));
                    let amount = chance.random_range(0..=held.nanos);
                    spent += amount;
                    purse.settle(held.lease, held.nanos, amount, now);
                }
                4 => {
                    let all = |purse: &LeasePurse| -> i64 {
                        purse.leases.iter().map(|lease| lease.granted).sum()
                    };
                    let before = all(&purse);
                    purse.take_unheld();
                    granted -= before - all(&purse);
                }
                _ => drop(purse.take_returnable(TERMS, now, false)),
            }
            assert!(
                purse.leases.iter().all(|l| l.left() >= 0 && l.held >= 0),
                "seed {seed}"
            );
            assert!(spent + running.iter().map(|h| h.nanos).sum::<i64>() <= granted);
        }
    }
}

#[test]
fn a_call_without_a_limit_gets_what_the_lease_covers() {
    let now = Instant::now();
    let mut purse = purse();
    purse.put(lease(1), 1_000, table(), Scope::default(), now);
    let long = ask(100, 500, 16);
    assert_eq!(purse.hold(&long, TERMS, now), Err(Shortage::Credit(5_200)));
    let held = purse.hold_less(&long, TERMS, now).unwrap();
    assert_eq!((held.max_tokens, held.nanos), (80, 1_000));
    assert_eq!(purse.hold_less(&long, TERMS, now), None);
}

#[test]
fn what_is_held_covers_the_dearest_kind_of_token_and_the_call() {
    let now = Instant::now();
    let mut prices = Prices::tokens(1, 2, 10);
    prices.units = prices
        .units
        .with(Unit::CachedInputToken, 1)
        .with(Unit::AudioInputToken, 5)
        .with(Unit::ReasoningToken, 20)
        .with(Unit::Call, 100);
    let table = PriceTable {
        version: 1,
        models: [("m".to_owned(), prices)].into(),
    };
    let mut purse = purse();
    purse.put(lease(1), 1_000, Arc::new(table), Scope::default(), now);
    let held = purse.hold(&ask(10, 7, 1), TERMS, now).unwrap();
    assert_eq!(held.nanos, 10 * 5 + 7 * 20 + 100);
    let rest = 1_000 - held.nanos;
    let held = purse.hold_less(&ask(10, 500, 1), TERMS, now).unwrap();
    assert_eq!(held.max_tokens, ((rest - 150) / 20) as u64);
    assert!(held.nanos <= rest);
}

#[test]
fn what_no_call_holds_of_a_used_lease_can_go_back() {
    let now = Instant::now();
    let mut purse = purse();
    purse.put(lease(1), 1_000, table(), Scope::default(), now);
    purse.put(lease(2), 500, table(), Scope::default(), now);
    let ended = purse.hold(&ask(5, 5, 1), TERMS, now).unwrap();
    let running = purse.hold(&ask(5, 5, 1), TERMS, now).unwrap();
    purse.settle(lease(1), ended.nanos, 20, now);
    // The idle one goes back whole, by another way.
    assert_eq!(purse.take_unheld(), [(lease(1), 20 + running.nanos)]);
    assert_eq!(purse.take_unheld(), []);
    assert_eq!(purse.take_returnable(TERMS, now, true), [lease(2)]);
    let shortage = purse.hold(&ask(1, 0, 0), TERMS, now);
    assert_eq!(shortage, Err(Shortage::Credit(2)));
    purse.settle(lease(1), running.nanos, running.nanos, now);
    assert_eq!(purse.take_returnable(TERMS, now, true), [lease(1)]);
}

#[test]
fn a_recalled_lease_goes_back_when_its_calls_end_and_an_expired_one_is_not_spent() {
    let start = Instant::now();
    let mut purse = purse();
    purse.put(lease(1), 1_000, table(), Scope::default(), start);
    let first = purse.hold(&ask(1, 1, 1), TERMS, start).unwrap();
    purse.recall();
    let second = purse.hold(&ask(1, 1, 1), TERMS, start).unwrap();
    assert!(!purse.settle(lease(1), first.nanos, 2, start));
    assert!(purse.take_returnable(TERMS, start, false).is_empty());
    assert!(purse.settle(lease(1), second.nanos, 2, start));
    assert_eq!(purse.take_returnable(TERMS, start, false), [lease(1)]);

    purse.put(lease(2), 1_000, table(), Scope::default(), start);
    assert!(
        purse
            .hold(&ask(1, 1, 1), TERMS, start + TERMS.expiry)
            .is_err()
    );
    assert!(
        purse
            .take_returnable(TERMS, start + Duration::from_secs(4), false)
            .is_empty()
    );
    assert_eq!(
        purse.take_returnable(TERMS, start + TERMS.idle, false),
        [lease(2)]
    );
    assert!(purse.is_empty());
}

#[test]
fn a_model_without_a_price_is_not_held() {
    let now = Instant::now();
    let mut purse = purse();
    purse.put(lease(1), 1_000, table(), Scope::default(), now);
    let mut ask = ask(1, 1, 1);
    ask.class.model = "other".to_owned();
    assert_eq!(purse.hold(&ask, TERMS, now), Err(Shortage::Unpriced));
    assert_eq!(purse.hold_less(&ask, TERMS, now), None);
}

#[test]
fn a_call_is_paid_by_leases_of_its_scope_only() {
    let now = Instant::now();
    let mut purse = LeasePurse::default();
    purse.put(lease(1), 1_000, table(), Scope::default(), now);
    let call = ask(1, 1, 1);
    assert_eq!(purse.hold(&call, TERMS, now), Err(Shortage::Unscoped));
    assert_eq!(purse.hold_less(&call, TERMS, now), None);
    let bound = Scope {
        key: Some(call.class.key),
        ..Scope::default()
    };
    purse.scopes().learn(call.class.clone(), bound.clone());
    assert_eq!(purse.hold(&call, TERMS, now), Err(Shortage::Unpriced));
    purse.put(lease(2), 50, table(), bound, now);
    assert_eq!(purse.hold(&call, TERMS, now).unwrap().lease, lease(2));
    let dear = ask(100, 1, 1);
    assert_eq!(purse.hold(&dear, TERMS, now), Err(Shortage::Credit(210)));
    purse.scopes().forget();
    assert_eq!(purse.hold(&call, TERMS, now), Err(Shortage::Unscoped));
}

#[test]
fn the_last_lease_says_when_less_than_half_of_it_is_left() {
    let now = Instant::now();
    let mut purse = purse();
    let low = |purse: &mut LeasePurse, now| {
        let held = purse.hold(&ask(1, 0, 0), TERMS, now);
        held.unwrap().runs_low
    };
    purse.put(lease(1), 10, table(), Scope::default(), now);
    let said: Vec<bool> = (0..3).map(|_| low(&mut purse, now)).collect();
    assert_eq!(said, [false, false, true]);
    // Another one is there.
    purse.put(lease(2), 10, table(), Scope::default(), now);
    assert!(!low(&mut purse, now));
    // The first has room for one more call; the last one is soon over.
    let later = now + TERMS.expiry - Duration::from_secs(1);
    assert_eq!([0, 1].map(|_| low(&mut purse, later)), [false, true]);
}
