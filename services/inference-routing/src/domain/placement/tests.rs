mod health;
mod room;
mod slow_start;
mod trials;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

use super::*;

/// Those of the service, with fewer blocks to remember.
const LIMITS: PlacementLimits = PlacementLimits {
    blocks: 10_000,
    ..PlacementLimits::DEFAULT
};

struct World {
    placement: Placement,
    chance: ChaCha20Rng,
    now: Instant,
}

fn world(policy: Policy, replicas: usize, seed: u64) -> World {
    let now = Instant::now();
    let mut placement = Placement::new(policy, LIMITS, seed);
    for _ in 0..replicas {
        placement.add(now);
    }
    // Their slow start is over.
    let (chance, now) = (ChaCha20Rng::seed_from_u64(seed), now + LIMITS.slow_start);
    World {
        placement,
        chance,
        now,
    }
}

impl World {
    fn prompt(&mut self, blocks: usize) -> Prompt {
        Prompt::from_blocks((0..blocks).map(|_| self.chance.random()).collect())
    }

    fn choose(&mut self, prompt: &Prompt) -> SlotId {
        self.placement.choose(prompt, &[], self.now).unwrap().id
    }

    fn end(&mut self, id: SlotId, ending: Ending) -> Change {
        self.placement.ended(id, 0, ending, self.now)
    }
}

fn longer(prompt: &Prompt, by: &Prompt) -> Prompt {
    Prompt::from_blocks([prompt.blocks(), by.blocks()].concat())
}

#[test]
fn a_conversation_stays_where_it_began() {
    for seed in 0..30 {
        let mut world = world(Policy::PrefixAware, 8, seed);
        let mut conversations: Vec<(Prompt, SlotId)> = Vec::new();
        for _ in 0..100 {
            let prompt = world.prompt(20);
            let id = world.choose(&prompt);
            world.end(id, Ending::Well);
            conversations.push((prompt, id));
            world.now += Duration::from_millis(50);
        }
        for (prompt, id) in conversations {
            let more = world.prompt(2);
            let again = world.choose(&longer(&prompt, &more));
            world.end(again, Ending::Well);
            assert_eq!(again, id, "seed {seed}");
        }
    }
}

#[test]
fn calls_that_share_only_their_first_block_are_spread() {
    for (seed, policy) in (0..30).flat_map(|seed| {
        [Policy::PrefixAware, Policy::LeastOfTwo, Policy::RoundRobin].map(|p| (seed, p))
    }) {
        let mut world = world(policy, 8, seed);
        let first = world.prompt(1);
        let mut counts = std::collections::HashMap::<SlotId, u32>::new();
        for _ in 0..800 {
            let rest = world.prompt(12);
            let id = world.choose(&longer(&first, &rest));
            *counts.entry(id).or_default() += 1;
            world.now += Duration::from_millis(20);
        }
        let most = counts.values().max().unwrap();
        assert!(counts.len() == 8 && *most <= 130, "seed {seed}: {counts:?}");
    }
}

#[test]
fn a_burst_is_spread_as_evenly_as_in_turn() {
    for seed in 0..30 {
        let mut world = world(Policy::PrefixAware, 8, seed);
        let first = world.prompt(1);
        let mut counts = [0_u32; 8];
        // All at once, before any has ended.
        for _ in 0..160 {
            let rest = world.prompt(9);
            counts[world.choose(&longer(&first, &rest)).0 as usize] += 1;
        }
        assert!(
            counts.iter().all(|n| (18..=22).contains(n)),
            "seed {seed}: {counts:?}"
        );
    }
}

#[test]
fn a_router_that_is_new_misses_a_conversation_once_at_most() {
    for seed in 0..30 {
        let mut world = world(Policy::PrefixAware, 8, seed);
        let conversations: Vec<_> = (0..100).map(|_| world.prompt(20)).collect();
        // They ran for long by way of another router; this one sees them for the first time.
        for round in 0..3 {
            for prompt in &conversations {
                let choice = world.placement.choose(prompt, &[], world.now).unwrap();
                let missed = if round == 0 { 20 } else { 0 };
                assert_eq!(choice.new_blocks, missed, "seed {seed}, round {round}");
                world.end(choice.id, Ending::Well);
                world.now += Duration::from_millis(50);
            }
        }
    }
}

#[test]
fn a_replica_that_left_is_never_chosen_and_what_is_known_is_bounded() {
    for seed in 0..20 {
        let mut world = world(Policy::PrefixAware, 4, seed);
        let mut gone = Vec::new();
        for step in 0..500 {
            if step % 50 == 25 {
                let ids: Vec<_> = world.placement.states().map(|(id, ..)| id).collect();
                let id = ids[world.chance.random_range(0..ids.len())];
                if world.chance.random() {
                    world.placement.remove(id);
                } else {
                    world.placement.drain(id, true);
                }
                gone.push(id);
                world.placement.add(world.now);
            }
            let prompt = world.prompt(40);
            let id = world.choose(&prompt);
            assert!(!gone.contains(&id), "seed {seed}");
            if world.chance.random() {
                world.end(id, Ending::Well);
            }
            world.now += Duration::from_millis(world.chance.random_range(0..500));
        }
        for slot in &world.placement.slots {
            assert!(slot.cache.len() <= LIMITS.blocks);
        }
    }
}

#[test]
fn a_replica_that_hangs_gets_few_calls_though_it_never_fails() {
    for policy in [Policy::PrefixAware, Policy::LeastOfTwo] {
        let mut world = world(policy, 3, 1);
        let hung = SlotId(1);
        let mut given = 0;
        for _ in 0..600 {
            let prompt = world.prompt(4);
            let choice = world.placement.choose(&prompt, &[], world.now).unwrap();
            if choice.id == hung {
                given += 1;
            } else {
                world.placement.begun(choice.id, choice.new_blocks);
                world.end(choice.id, Ending::Well);
            }
            world.now += Duration::from_millis(20);
        }
        assert!(given < 20, "{policy:?}: {given} of 600");
    }
}

#[test]
fn all_but_the_last_are_left_out_and_one_call_on_trial_brings_each_back() {
    for seed in 0..30 {
        let mut world = world(Policy::PrefixAware, 3, seed);
        let prompt = world.prompt(3);
        for _ in 0..100 {
            let id = world.choose(&prompt);
            world.end(id, Ending::Failed(Failure::Status));
            world.now += Duration::from_millis(5);
        }
        let are = |placement: &Placement, wanted: SlotState| {
            let states = placement.states();
            states.filter(|(_, state, _)| *state == wanted).count()
        };
        assert_eq!(are(&world.placement, SlotState::Doubted), 1);
        assert_eq!(are(&world.placement, SlotState::Ejected), 2);
        world.now += LIMITS.breaker.longest_backoff;
        let trials: Vec<_> = (0..3)
            .map(|_| world.placement.choose(&prompt, &[], world.now).unwrap())
            .collect();
        assert_eq!(trials.iter().filter(|choice| choice.on_trial).count(), 2);
        for trial in trials {
            let change = world.end(trial.id, Ending::Well);
            assert_eq!(change == Change::Trusted, trial.on_trial);
        }
        assert_eq!(are(&world.placement, SlotState::Active), 3);
    }
}

#[test]
fn who_can_go_elsewhere_passes_the_ill_last_one_by_until_it_shows_that_it_is_well() {
    let mut world = world(Policy::PrefixAware, 2, 5);
    let prompt = world.prompt(1);
    for _ in 0..2 {
        assert!(!world.placement.pass_by(world.now), "one may be well");
        let id = world.choose(&prompt);
        world.end(id, Ending::Failed(Failure::Refused));
    }
    let mut asked = 0;
    for _ in 0..100 {
        if !world.placement.pass_by(world.now) {
            asked += 1;
            let id = world.choose(&prompt);
            world.end(id, Ending::Failed(Failure::Refused));
        }
        world.now += Duration::from_millis(20);
    }
    // Two seconds: by the last one standing once a second, by the other's trial twice.
    assert!((1..=5).contains(&asked), "{asked}");
    while world.placement.pass_by(world.now) {
        world.now += Duration::from_millis(20);
    }
    let id = world.choose(&prompt);
    world.end(id, Ending::Well);
    for _ in 0..100 {
        assert!(!world.placement.pass_by(world.now), "it is well");
    }
}

#[test]
fn a_replica_that_asks_to_be_left_alone_is_and_says_for_how_long() {
    let mut world = world(Policy::PrefixAware, 2, 5);
    let prompt = world.prompt(3);
    let first = world.choose(&prompt);
    world.end(first, Ending::Busy(Duration::from_secs(2)));
    for _ in 0..5 {
        let id = world.choose(&prompt);
        assert_ne!(id, first);
        world.end(id, Ending::Well);
    }
    let second = world.choose(&prompt);
    world.end(second, Ending::Busy(Duration::from_secs(9)));
    let nobody = world.placement.choose(&prompt, &[], world.now).unwrap_err();
    assert_eq!(nobody.retry_after, Some(Duration::from_secs(2)));
    world.now += Duration::from_secs(2);
    assert_eq!(world.choose(&prompt), first);
}

#[test]
fn a_replica_that_is_full_gets_the_next_call_when_one_of_its_own_has_ended() {
    let mut world = world(Policy::PrefixAware, 1, 5);
    let prompt = world.prompt(3);
    let second = Duration::from_secs(1);
    let running = [(); 3].map(|()| world.choose(&prompt));
    let refused = world.choose(&prompt);
    world.end(refused, Ending::Full);
    let nobody = world.placement.choose(&prompt, &[], world.now).unwrap_err();
    assert_eq!(nobody.retry_after, Some(second));
    world.end(running[0], Ending::Well);
    world.choose(&prompt);
    assert!(world.placement.choose(&prompt, &[], world.now).is_err());
    // What it can do may have grown: after a while one more is tried.
    world.now += 2 * second;
    assert!(world.placement.choose(&prompt, &[], world.now).is_err());
    world.now += 3 * second;
    world.choose(&prompt);
}

#[test]
fn what_a_replica_runs_for_others_counts_until_it_is_old() {
    for policy in [Policy::PrefixAware, Policy::LeastOfTwo] {
        let mut world = world(policy, 2, 11);
        let said = EngineReport {
            running: 30,
            waiting: 10,
            ..EngineReport::default()
        };
        world.placement.reported(SlotId(0), &said, world.now);
        let given = |world: &mut World| {
            let mut given = 0;
            for _ in 0..50 {
                let prompt = world.prompt(4);
                let id = world.choose(&prompt);
                given += u32::from(id == SlotId(0));
                world.end(id, Ending::Well);
            }
            given
        };
        let got = given(&mut world);
        assert!(got <= 3, "{policy:?}: {got} of 50");
        world.now += Duration::from_secs(600);
        // By prefixes, it makes up for what it did not get.
        let got = given(&mut world);
        assert!(got >= 20, "{policy:?}: {got} of 50");
    }
}

#[test]
fn a_replica_that_began_anew_knows_no_prompt_any_more() {
    let mut world = world(Policy::PrefixAware, 2, 4);
    let prompt = world.prompt(20);
    let id = world.choose(&prompt);
    world.end(id, Ending::Well);
    let said = |started_at| EngineReport {
        started_at: Some(started_at),
        ..EngineReport::default()
    };
    let now = world.now;
    assert_eq!(
        world.placement.reported(id, &said(10.0), now),
        (false, None)
    );
    let again = world.placement.choose(&prompt, &[], now).unwrap();
    assert_eq!((again.id, again.new_blocks), (id, 0));
    world.end(id, Ending::Well);
    assert_eq!(world.placement.reported(id, &said(20.0), now), (true, None));
    let other = world.placement.choose(&prompt, &[], now).unwrap();
    assert_ne!(other.id, id);
    assert_eq!(other.new_blocks, 20);
}

#[test]
fn further_attempts_need_a_budget_and_another_replica() {
    let mut world = world(Policy::PrefixAware, 2, 3);
    let prompt = world.prompt(1);
    let (mut calls, mut attempts) = (0, 0);
    for _ in 0..1000 {
        let mut tried = Vec::new();
        calls += 1;
        while let Ok(choice) = world.placement.choose(&prompt, &tried, world.now) {
            assert!(!tried.contains(&choice.id));
            attempts += 1;
            tried.push(choice.id);
            world.end(choice.id, Ending::Unknown);
        }
    }
    assert!(
        attempts > calls && attempts <= calls * 6 / 5,
        "{attempts} of {calls}"
    );
}
