use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::*;

fn account(n: u128) -> AccountId {
    AccountId::from_uuid(Uuid::from_u128(n))
}

fn app(n: u128) -> AppId {
    AppId::from_uuid(Uuid::from_u128(n))
}

fn turn(owner: u128, of: u128) -> Turn {
    Turn {
        account: account(owner),
        app: app(of),
        account_priority: Priority::Normal,
        key_priority: Priority::Normal,
        again: false,
    }
}

#[test]
fn accounts_take_turns_and_then_their_apps() {
    let mut queue = FairQueue::new(10, 10);
    for (owner, of, call) in [
        (1, 1, "a"),
        (1, 1, "b"),
        (1, 1, "c"),
        (1, 2, "d"),
        (2, 3, "e"),
        (3, 4, "f"),
    ] {
        queue.push(turn(owner, of), call).unwrap();
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.pop(1, |_| true))
        .map(|next| next.call)
        .collect();
    assert_eq!(order, ["a", "e", "f", "d", "b", "c"]);
    assert!(queue.is_empty());
}

#[test]
fn who_was_served_less_goes_first_whatever_the_number_of_calls() {
    let mut queue = FairQueue::new(10, 10);
    queue.push(turn(1, 1), "long").unwrap();
    queue.push(turn(2, 2), "short").unwrap();
    queue.pop(1, |id| id == account(1)).unwrap();
    queue.pop(1, |id| id == account(2)).unwrap();
    for call in ["long again", "long once more"] {
        queue.push(turn(1, 1), call).unwrap();
    }
    queue.push(turn(2, 2), "short again").unwrap();
    queue.push(turn(2, 2), "short once more").unwrap();
    queue.end(account(1), app(1), 1, 1000);
    queue.end(account(2), app(2), 1, 10);
    let order: Vec<_> = std::iter::from_fn(|| queue.pop(10, |_| true))
        .map(|next| next.call)
        .collect();
    assert_eq!(
        order,
        [
            "short again",
            "short once more",
            "long again",
            "long once more"
        ]
    );
}

#[test]
fn urgent_calls_of_an_app_go_before_its_others() {
    let mut queue = FairQueue::new(10, 10);
    for (priority, call) in [
        (Priority::Low, "batch"),
        (Priority::Normal, "usual"),
        (Priority::High, "person"),
    ] {
        let turn = Turn {
            key_priority: priority,
            ..turn(1, 1)
        };
        queue.push(turn, call).unwrap();
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.pop(1, |_| true))
        .map(|next| next.call)
        .collect();
    assert_eq!(order, ["person", "usual", "batch"]);
}

#[test]
fn a_call_that_could_not_run_is_the_next_of_its_app_and_costs_its_account_nothing() {
    let mut queue = FairQueue::new(10, 10);
    for (owner, call) in [(1, "a"), (1, "b"), (1, "c"), (2, "d")] {
        queue.push(turn(owner, 1), call).unwrap();
    }
    let first = queue.pop(100, |_| true).unwrap();
    assert_eq!(first.call, "a");
    queue.end(first.account, first.app, 100, 0);
    let again = Turn {
        again: true,
        ..turn(1, 1)
    };
    queue.push(again, first.call).unwrap();
    let order: Vec<_> = std::iter::from_fn(|| queue.pop(100, |_| true))
        .map(|next| next.call)
        .collect();
    assert_eq!(order, ["a", "d", "b", "c"]);
}

#[test]
fn nobody_saves_turns_up() {
    let mut queue = FairQueue::new(100, 100);
    for n in 0..50 {
        queue.push(turn(1, 1), n).unwrap();
        queue.pop(100, |_| true).unwrap();
        queue.end(account(1), app(1), 100, 100);
    }
    for n in 0..4 {
        queue.push(turn(1, 1), n).unwrap();
        queue.push(turn(2, 2), 100 + n).unwrap();
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.pop(100, |_| true))
        .map(|next| next.account)
        .collect();
    let of_two = order[..4].iter().filter(|id| **id == account(2)).count();
    assert_eq!(of_two, 2, "{order:?}");
}

#[test]
fn a_full_queue_gives_up_the_last_call_of_who_has_most() {
    let mut queue = FairQueue::new(4, 4);
    for n in 0..4 {
        queue.push(turn(1, 1), n).unwrap();
    }
    assert_eq!(queue.push(turn(2, 2), 10), Ok(Some(3)));
    assert_eq!(queue.push(turn(2, 2), 11), Ok(Some(2)));
    // Both have two now: the newcomer gives way.
    assert_eq!(queue.push(turn(2, 2), 12), Err(12));
    assert_eq!(queue.push(turn(1, 1), 13), Err(13));
    assert_eq!(queue.len(), 4);
}

#[test]
fn those_that_went_away_are_forgotten() {
    let mut queue = FairQueue::new(4, 4);
    for n in 0..4 {
        queue.push(turn(n % 2, 1), n).unwrap();
    }
    queue.retain(|n| n % 2 == 1);
    assert_eq!(queue.len(), 2);
    assert_eq!(queue.pop(1, |_| true).unwrap().call, 1);
    assert_eq!(queue.pop(1, |_| true).unwrap().call, 3);
    assert!(queue.pop(1, |_| true).is_none());
}

/// Serves calls one at a time from accounts that always have some waiting; answers the tokens of
/// each.
fn served(priorities: &[Priority], chance: &mut ChaCha8Rng) -> Vec<f64> {
    let mut queue = FairQueue::new(1000, 10);
    let mut tokens = vec![0f64; priorities.len()];
    // The first one's calls are short, the last one's long.
    for _ in 0..20_000 {
        for (n, priority) in priorities.iter().enumerate() {
            let turn = Turn {
                account_priority: *priority,
                ..turn(n as u128, n as u128)
            };
            let _ = queue.push(turn, n);
        }
        let next = queue.pop(100, |_| true).unwrap();
        let used = chance.random_range(1..=50 * (next.call as u64 + 1));
        tokens[next.call] += used as f64;
        queue.end(next.account, next.app, 100, used);
    }
    tokens
}

#[test]
fn tokens_are_shared_evenly_whatever_the_length_of_calls() {
    for seed in 0..20 {
        let tokens = served(
            &[Priority::Normal; 10],
            &mut ChaCha8Rng::seed_from_u64(seed),
        );
        let sum: f64 = tokens.iter().sum();
        let squares: f64 = tokens.iter().map(|t| t * t).sum();
        let jain = sum * sum / (10.0 * squares);
        assert!(jain > 0.999, "seed {seed}: {jain} {tokens:?}");
    }
}

#[test]
fn priorities_are_shares_of_tokens() {
    for seed in 0..20 {
        let priorities = [Priority::Low, Priority::Normal, Priority::High];
        let tokens = served(&priorities, &mut ChaCha8Rng::seed_from_u64(seed));
        for two in tokens.windows(2) {
            let ratio = two[1] / two[0];
            assert!((3.8..4.2).contains(&ratio), "seed {seed}: {tokens:?}");
        }
    }
}

#[test]
fn idle_accounts_are_forgotten() {
    let mut queue = FairQueue::new(10, 10);
    for n in 0..100_000 {
        queue.push(turn(n, n), ()).unwrap();
        let next = queue.pop(1, |_| true).unwrap();
        queue.end(next.account, next.app, 1, 5);
    }
    assert!(queue.accounts.len() <= 2 * MAX_IDLE + 1);
}
