//! Calls on trial, and what follows them.

use std::collections::VecDeque;

use super::*;

#[test]
fn while_calls_on_trial_have_no_end_few_others_follow_them() {
    let mut world = world(Policy::PrefixAware, 2, 3);
    let hung = SlotId(1);
    let stuck = Progress {
        waiting: LIMITS.breaker.failures,
        came: 0,
    };
    while world.placement.asked(hung, true, stuck, world.now) != Change::Ejected {
        world.now += LIMITS.stall;
    }
    let mut given = 0;
    // Two minutes, in which answers in one piece may be on their way.
    for _ in 0..1200 {
        let prompt = world.prompt(4);
        let choice = world.placement.choose(&prompt, &[], world.now).unwrap();
        if choice.id == hung {
            assert!(choice.on_trial);
            given += 1;
        } else {
            world.end(choice.id, Ending::Well);
        }
        world.now += Duration::from_millis(100);
    }
    assert!((5..=8).contains(&given), "{given}");
    // The end of any of them decides.
    assert_eq!(world.end(hung, Ending::Well), Change::Trusted);
}

/// How many of the next hundred calls, forty at a time, a replica gets.
fn of_a_hundred(world: &mut World, replica: SlotId) -> u32 {
    let mut running = VecDeque::new();
    let mut given = 0;
    for _ in 0..100 {
        let prompt = world.prompt(4);
        let id = world.choose(&prompt);
        given += u32::from(id == replica);
        running.push_back(id);
        if running.len() > 40 {
            let done = running.pop_front().unwrap();
            world.end(done, Ending::Well);
        }
        world.now += Duration::from_millis(20);
    }
    for id in running {
        world.end(id, Ending::Well);
    }
    given
}

#[test]
fn a_replica_that_is_trusted_again_begins_slowly() {
    for policy in [Policy::PrefixAware, Policy::LeastOfTwo] {
        let mut world = world(policy, 4, 7);
        let ill = SlotId(1);
        let given = of_a_hundred(&mut world, ill);
        assert!((20..=30).contains(&given), "{policy:?}: {given} before");
        let change = world.end(ill, Ending::Failed(Failure::Refused));
        assert_eq!(change, Change::Ejected);
        world.now += LIMITS.breaker.first_backoff;
        let prompt = world.prompt(4);
        let trial = world.placement.choose(&prompt, &[], world.now).unwrap();
        assert!(trial.on_trial && trial.id == ill);
        assert_eq!(world.end(ill, Ending::Well), Change::Trusted);
        let given = of_a_hundred(&mut world, ill);
        assert!(given <= 10, "{policy:?}: {given} at first");
        // By prefixes it then makes up for what it did not get.
        world.now += LIMITS.slow_start;
        let given = of_a_hundred(&mut world, ill);
        assert!((15..=60).contains(&given), "{policy:?}: {given} later");
    }
}
