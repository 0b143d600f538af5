use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::*;
use crate::domain::limits::Level;

fn bound(quantity: Quantity, limit: u64) -> Bound {
    let subject = Subject {
        level: Level::Key,
        id: Uuid::from_u128(1),
    };
    Bound {
        subject,
        quantity,
        limit,
    }
}

fn grant(granted: u64, available: f64) -> Grant {
    Grant { granted, available }
}

#[test]
fn a_part_is_taken_at_once_and_most_calls_ask_nobody() {
    let now = Instant::now();
    let bounds = [bound(Quantity::Requests, 640)];
    let mut allowances = Allowances::default();
    let Err(Short::Ask(wants)) = allowances.take(&bounds, 1, now) else {
        panic!("nothing was taken yet");
    };
    assert_eq!((wants[0].least, wants[0].most), (1, 21));
    allowances.put(&wants[0], grant(21, 619.0), now);
    for _ in 0..11 {
        assert_eq!(allowances.take(&bounds, 1, now), Ok(Vec::new()));
    }
    // Below half a part more is fetched, while the call goes on.
    for _ in 0..2 {
        allowances.take(&bounds, 1, now).unwrap();
    }
    assert_eq!(allowances.take(&bounds, 1, now).unwrap()[0].most, 20);
}

#[test]
fn a_limit_that_is_reached_says_when_to_try_again_and_is_not_asked_meanwhile() {
    let now = Instant::now();
    let bounds = [bound(Quantity::Requests, 30)];
    let mut allowances = Allowances::default();
    let Err(Short::Ask(wants)) = allowances.take(&bounds, 1, now) else {
        panic!("nothing was taken yet");
    };
    allowances.put(&wants[0], grant(0, 0.5), now);
    let Err(Short::Reached(reached)) = allowances.take(&bounds, 1, now) else {
        panic!("there is nothing");
    };
    assert_eq!(reached.retry_after, Duration::from_secs(1));
    let later = now + LONGEST_REST;
    assert!(matches!(
        allowances.take(&bounds, 1, later),
        Err(Short::Ask(_))
    ));
}

#[test]
fn tokens_that_were_not_used_come_back_and_too_many_are_owed() {
    let now = Instant::now();
    let bounds = [bound(Quantity::Tokens, 1000)];
    let mut allowances = Allowances::default();
    let want = Want {
        bound: bounds[0],
        least: 100,
        most: 132,
    };
    allowances.put(&want, grant(132, 868.0), now);
    allowances.take(&bounds, 100, now).unwrap();
    let used = Used {
        requests: 1,
        tokens: 250,
    };
    allowances.end(&bounds, 100, used, now);
    let surplus = allowances.surplus(false, now + IDLE);
    assert_eq!(surplus[0].amount, 132 - 250);
    assert!(allowances.is_empty());
}

#[test]
fn who_rested_a_second_keeps_what_one_call_needs_for_a_minute() {
    let now = Instant::now();
    let bounds = [bound(Quantity::Tokens, 3200), bound(Quantity::Calls, 320)];
    let mut allowances = Allowances::default();
    for (bound, most) in bounds.into_iter().zip([160, 11]) {
        let want = Want {
            bound,
            least: 1,
            most,
        };
        allowances.put(&want, grant(most, 300.0), now);
    }
    allowances.take(&bounds, 60, now).unwrap();
    allowances.end(&bounds, 60, Used::default(), now);
    let amounts = |allowances: &mut Allowances, rested| {
        let surplus = allowances.surplus(false, now + rested);
        surplus.iter().map(|s| s.amount).sum::<i64>()
    };
    assert_eq!(amounts(&mut allowances, IDLE), 100 + 10);
    assert_eq!(amounts(&mut allowances, FORGOTTEN / 2), 0);
    // Such a call asks nobody.
    assert!(allowances.take(&bounds, 60, now).is_ok());
    allowances.end(&bounds, 60, Used::default(), now);
    assert_eq!(amounts(&mut allowances, FORGOTTEN), 60 + 1);
    assert!(allowances.is_empty());
}

#[test]
fn who_rested_keeps_a_part_at_most_and_nothing_of_a_small_limit() {
    let now = Instant::now();
    let bounds = [bound(Quantity::Tokens, 3200), bound(Quantity::Calls, 30)];
    let mut allowances = Allowances::default();
    for (bound, most) in bounds.into_iter().zip([1000, 1]) {
        let want = Want {
            bound,
            least: 1,
            most,
        };
        allowances.put(&want, grant(most, 300.0), now);
    }
    allowances.take(&bounds, 1000, now).unwrap();
    allowances.end(&bounds, 1000, Used::default(), now);
    let surplus = allowances.surplus(false, now + IDLE);
    let amounts: Vec<_> = surplus.iter().map(|s| s.amount).collect();
    assert_eq!(amounts.iter().sum::<i64>(), 900 + 1);
    assert_eq!(allowances.len(), 1);
}

#[test]
fn a_call_that_wants_more_than_the_limit_takes_the_whole_limit() {
    let bound = bound(Quantity::Tokens, 1000);
    assert_eq!(need(&bound, 5000), 1000);
    assert_eq!(need(&bound, 0), 1);
}

/// What all replicas share, as the database keeps it.
struct Shared {
    limit: u64,
    left: u64,
}

impl Shared {
    fn take(&mut self, want: &Want) -> Grant {
        let mut granted = want.most.min(self.left);
        if granted < want.least {
            granted = 0;
        }
        self.left -= granted;
        grant(granted, self.left as f64)
    }
}

#[test]
fn four_replicas_never_let_more_run_than_the_limit_and_nothing_is_lost() {
    for seed in 0..200 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let limit = chance.random_range(1..200);
        let bounds = [bound(Quantity::Calls, limit)];
        let mut shared = Shared { limit, left: limit };
        let mut replicas: [Allowances; 4] = Default::default();
        let mut running = [0u64; 4];
        let mut now = Instant::now();
        for _ in 0..2000 {
            now += Duration::from_millis(chance.random_range(0..20));
            let at = chance.random_range(0..4);
            match chance.random_range(0..10) {
                0..6 => {
                    if let Err(Short::Ask(wants)) = replicas[at].take(&bounds, 1, now) {
                        let grant = shared.take(&wants[0]);
                        replicas[at].put(&wants[0], grant, now);
                        running[at] += u64::from(replicas[at].take(&bounds, 1, now).is_ok());
                    } else {
                        // Either it runs or it is refused: told apart by what is held.
                        let held = replicas[at].of.values().map(|a| a.held).sum::<u64>();
                        running[at] = held;
                    }
                }
                6..9 if running[at] > 0 => {
                    running[at] -= 1;
                    replicas[at].end(&bounds, 1, Used::default(), now);
                }
                _ => {
                    for surplus in replicas[at].surplus(false, now) {
                        shared.left += unsigned(surplus.amount);
                    }
                }
            }
            assert!(running.iter().sum::<u64>() <= shared.limit, "seed {seed}");
        }
        for at in 0..4 {
            for _ in 0..running[at] {
                replicas[at].end(&bounds, 1, Used::default(), now);
            }
            for surplus in replicas[at].surplus(true, now) {
                shared.left += unsigned(surplus.amount);
            }
        }
        assert_eq!(shared.left, limit, "seed {seed}");
    }
}
