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
fn each_call_is_told_the_time_of_its_own_need() {
    let now = Instant::now();
    // Ten in a second.
    let bounds = [bound(Quantity::Tokens, 600)];
    let mut allowances = Allowances::default();
    let want = |least| Want {
        bound: bounds[0],
        least,
        most: 68,
    };
    let told = |allowances: &mut Allowances, tokens, millis| {
        let now = now + Duration::from_millis(millis);
        match allowances.take(&bounds, tokens, now) {
            Err(Short::Reached(reached)) => Some(reached.retry_after.as_millis()),
            Err(Short::Ask(_)) => None,
            Ok(_) => panic!("there is nothing"),
        }
    };
    allowances.put(&want(50), grant(0, 20.0), now);
    assert_eq!(told(&mut allowances, 50, 0), Some(3000));
    assert_eq!(told(&mut allowances, 50, 200), Some(2800));
    assert_eq!(told(&mut allowances, 100, 200), Some(7800));
    assert_eq!(
        told(&mut allowances, 20, 200),
        None,
        "for it there is enough"
    );
    // What was asked for beforehand, and is nearly there, is no measure of what a call needs.
    allowances.put(&want(1), grant(0, 0.5), now);
    assert_eq!(told(&mut allowances, 50, 10), Some(4940));
}

#[test]
fn of_several_limits_that_are_reached_the_longest_time_is_told() {
    let now = Instant::now();
    let bounds = [
        bound(Quantity::Requests, 60),
        bound(Quantity::Tokens, 600),
        bound(Quantity::Calls, 1),
    ];
    let mut allowances = Allowances::default();
    for (bound, least) in bounds.into_iter().zip([1, 50, 1]) {
        let most = least;
        allowances.put(&Want { bound, least, most }, grant(0, 0.0), now);
    }
    let Err(Short::Reached(reached)) = allowances.take(&bounds, 50, now) else {
        panic!("there is nothing");
    };
    assert_eq!(reached.bound, bounds[1]);
    assert_eq!(reached.retry_after, Duration::from_secs(5));
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

#[test]
fn what_was_taken_of_a_wider_limit_goes_back_when_it_is_lowered() {
    let now = Instant::now();
    let (wide, narrow) = (
        [bound(Quantity::Calls, 100_000)],
        [bound(Quantity::Calls, 20)],
    );
    let mut allowances = Allowances::default();
    let want = Want {
        bound: wide[0],
        least: 1,
        most: 3125,
    };
    allowances.put(&want, grant(3125, 96_875.0), now);
    for _ in 0..25 {
        allowances.take(&wide, 1, now).unwrap();
    }
    let short = allowances.take(&narrow, 1, now);
    assert!(matches!(short, Err(Short::Ask(_))), "{short:?}");
    assert!(allowances.is_over());
    assert_eq!(allowances.surplus(false, now)[0].amount, 3100);
    // A call that ran by the wider limit frees no place here.
    allowances.end(&wide, 1, Used::default(), now);
    assert!(matches!(
        allowances.take(&narrow, 1, now),
        Err(Short::Ask(_))
    ));
    assert_eq!(allowances.surplus(false, now)[0].amount, 1);
}

/// What all replicas share, as the database keeps it.
#[derive(Default)]
struct Shared {
    taken: u64,
}

impl Shared {
    fn take(&mut self, want: &Want) -> Grant {
        let left = want.bound.limit.saturating_sub(self.taken);
        let mut granted = want.most.min(left);
        if granted < want.least {
            granted = 0;
        }
        self.taken += granted;
        grant(granted, (left - granted) as f64)
    }
}

#[test]
fn four_replicas_never_let_more_run_than_the_limit_however_it_changes_and_nothing_is_lost() {
    for seed in 0..200 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut limit = chance.random_range(1..200);
        let mut shared = Shared::default();
        let mut replicas: [Allowances; 4] = Default::default();
        // What each call was let through by.
        let mut running: [Vec<Bound>; 4] = Default::default();
        let mut now = Instant::now();
        for _ in 0..4000 {
            now += Duration::from_millis(chance.random_range(0..20));
            let at = chance.random_range(0..4);
            let replica = &mut replicas[at];
            match chance.random_range(0..100) {
                0..60 => {
                    let bounds = [bound(Quantity::Calls, limit)];
                    let mut taken = replica.take(&bounds, 1, now);
                    if let Err(Short::Ask(wants)) = taken {
                        replica.put(&wants[0], shared.take(&wants[0]), now);
                        taken = replica.take(&bounds, 1, now);
                    }
                    if taken.is_ok() {
                        running[at].push(bounds[0]);
                        // Who was let through by a wider limit may end.
                        let narrow = |held: &&Bound| held.limit <= limit;
                        let count = running.iter().flatten().filter(narrow).count();
                        assert!(count as u64 <= limit, "seed {seed}: {count} of {limit}");
                    }
                }
                60..90 => {
                    if let Some(held) = running[at].pop() {
                        replica.end(&[held], 1, Used::default(), now);
                    }
                }
                90 => limit = chance.random_range(1..200),
                _ => {
                    for surplus in replica.surplus(false, now) {
                        shared.taken -= unsigned(surplus.amount);
                    }
                }
            }
        }
        for (replica, running) in replicas.iter_mut().zip(&running) {
            for held in running {
                replica.end(&[*held], 1, Used::default(), now);
            }
            for surplus in replica.surplus(true, now) {
                shared.taken -= unsigned(surplus.amount);
            }
        }
        assert_eq!(shared.taken, 0, "seed {seed}");
    }
}
