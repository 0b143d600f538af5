//! Replicas that are new or trusted again, and what they get of their share.

use super::*;

/// How many of a hundred calls a replica gets, while some forty run.
fn given_of_a_hundred(world: &mut World, to: SlotId) -> u32 {
    let mut running = std::collections::VecDeque::new();
    let mut given = 0;
    for _ in 0..100 {
        let prompt = world.prompt(4);
        let id = world.choose(&prompt);
        given += u32::from(id == to);
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
fn a_fresh_replica_begins_slowly() {
    for policy in [Policy::PrefixAware, Policy::LeastOfTwo] {
        let mut world = world(policy, 3, 7);
        given_of_a_hundred(&mut world, SlotId(0));
        let fresh = world.placement.add(world.now);
        let given = given_of_a_hundred(&mut world, fresh);
        assert!((1..=10).contains(&given), "{policy:?}: {given} of 100");
        world.now += LIMITS.slow_start;
        let given = given_of_a_hundred(&mut world, fresh);
        assert!((18..=60).contains(&given), "{policy:?}: {given} later");
    }
}

#[test]
fn replicas_that_their_router_finds_when_it_starts_share_alike() {
    for policy in [Policy::PrefixAware, Policy::LeastOfTwo] {
        let mut world = world(policy, 8, 7);
        world.now -= LIMITS.slow_start;
        let mut counts = [0_u32; 8];
        for _ in 0..800 {
            let prompt = world.prompt(4);
            let id = world.choose(&prompt);
            counts[id.0 as usize] += 1;
            world.end(id, Ending::Well);
            world.now += LIMITS.slow_start / 800;
        }
        let even = 60..=140;
        assert!(
            counts.iter().all(|count| even.contains(count)),
            "{policy:?}: {counts:?}"
        );
    }
}

#[test]
fn a_replica_that_is_trusted_again_begins_slowly() {
    for policy in [Policy::PrefixAware, Policy::LeastOfTwo] {
        let mut world = world(policy, 4, 7);
        let ill = SlotId(1);
        let given = given_of_a_hundred(&mut world, ill);
        assert!((20..=30).contains(&given), "{policy:?}: {given} before");
        let change = world.end(ill, Ending::Failed(Failure::Refused));
        assert_eq!(change, Change::Ejected);
        world.now += LIMITS.breaker.first_backoff;
        let prompt = world.prompt(4);
        let trial = world.placement.choose(&prompt, &[], world.now).unwrap();
        assert!(trial.on_trial && trial.id == ill);
        assert_eq!(world.end(ill, Ending::Well), Change::Trusted);
        let given = given_of_a_hundred(&mut world, ill);
        assert!(given <= 10, "{policy:?}: {given} at first");
        // By prefixes it then makes up for what it did not get.
        world.now += LIMITS.slow_start;
        let given = given_of_a_hundred(&mut world, ill);
        assert!((15..=60).contains(&given), "{policy:?}: {given} later");
    }
}
