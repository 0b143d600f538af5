//! How many calls go to replicas that refuse what they have no room for.

use super::*;

const TICK: Duration = Duration::from_millis(10);
const SECOND: u32 = 100;
/// Calls that a router runs at a time, whatever its replicas take.
const PLACES: usize = 512;

/// Replicas that routers share: how many calls each has room for, and how many it runs.
struct Replicas {
    room: Vec<u32>,
    running: Vec<u32>,
}

/// A router for which more calls wait than there is room for.
struct Router {
    placement: Placement,
    begin: Instant,
    /// The ticks at which its calls end, and where.
    running: Vec<(u32, SlotId)>,
    asked: u32,
    refused: u32,
}

impl Replicas {
    fn new(count: usize, room: u32) -> Self {
        Self {
            room: vec![room; count],
            running: vec![0; count],
        }
    }
}

impl Router {
    fn of(replicas: &Replicas, seed: u64) -> Self {
        let begin = Instant::now();
        let mut placement = Placement::new(Policy::LeastOfTwo, LIMITS, seed);
        for _ in &replicas.room {
            placement.add(begin);
        }
        Self {
            placement,
            begin,
            running: Vec::new(),
            asked: 0,
            refused: 0,
        }
    }

    /// Calls end, and others begin as long as there seems to be room. One takes `long` ticks, or half as much
    /// more or less.
    fn step(&mut self, replicas: &mut Replicas, tick: u32, long: u32, chance: &mut ChaCha20Rng) {
        let now = self.begin + TICK * tick;
        let over: Vec<_> = self
            .running
            .extract_if(.., |(end, _)| *end <= tick)
            .collect();
        for (_, id) in over {
            replicas.running[id.0 as usize] -= 1;
            self.placement.ended(id, 0, Ending::Well, now);
        }
        while self.running.len() < PLACES && self.placement.vacancy(now).free > 0 {
            let choice = self.placement.choose(&Prompt::default(), &[], now).unwrap();
            let at = choice.id.0 as usize;
            self.asked += 1;
            if replicas.running[at] < replicas.room[at] {
                replicas.running[at] += 1;
                let takes = chance.random_range(long / 2..=long * 3 / 2).max(1);
                self.running.push((tick + takes, choice.id));
            } else {
                self.refused += 1;
                self.placement.ended(choice.id, 0, Ending::Full, now);
            }
        }
    }
}

#[test]
fn nearly_all_of_a_replicas_room_is_used_and_it_refuses_a_call_in_some_seconds() {
    for (seed, room) in (0..5).flat_map(|seed| [1, 2, 3, 5, 8, 40].map(|room| (seed, room))) {
        let mut chance = ChaCha20Rng::seed_from_u64(seed);
        let mut replicas = Replicas::new(1, room);
        let mut router = Router::of(&replicas, seed);
        let mut used = 0;
        for tick in 0..60 * SECOND {
            router.step(&mut replicas, tick, 20, &mut chance);
            used += replicas.running[0];
        }
        let mean = f64::from(used) / f64::from(60 * SECOND);
        assert!(
            mean >= 0.88 * f64::from(room),
            "seed {seed}: {mean} of {room}"
        );
        assert!(
            router.refused <= 22,
            "seed {seed}, room for {room}: {} refused",
            router.refused
        );
    }
}

#[test]
fn a_replica_that_gets_more_room_is_full_again_within_seconds() {
    for seed in 0..10 {
        let mut chance = ChaCha20Rng::seed_from_u64(seed);
        let mut replicas = Replicas::new(1, 1);
        let mut router = Router::of(&replicas, seed);
        for tick in 0..30 * SECOND {
            router.step(&mut replicas, tick, 20, &mut chance);
        }
        replicas.room[0] = 200;
        let full = (30 * SECOND..45 * SECOND).find(|tick| {
            router.step(&mut replicas, *tick, 20, &mut chance);
            replicas.running[0] == 200
        });
        assert!(
            full.is_some(),
            "seed {seed}: it runs {}",
            replicas.running[0]
        );
    }
}

#[test]
fn a_replica_that_has_room_for_none_is_asked_once_a_second_and_used_as_soon_as_it_has() {
    for seed in 0..10 {
        let mut chance = ChaCha20Rng::seed_from_u64(seed);
        let mut replicas = Replicas::new(1, 0);
        let mut router = Router::of(&replicas, seed);
        for tick in 0..60 * SECOND {
            router.step(&mut replicas, tick, 20, &mut chance);
        }
        assert!((55..=61).contains(&router.asked), "{}", router.asked);
        replicas.room[0] = 3;
        for tick in 60 * SECOND..62 * SECOND {
            router.step(&mut replicas, tick, 1_000, &mut chance);
        }
        assert!(replicas.running[0] >= 1, "seed {seed}");
    }
}

#[test]
fn routers_that_share_a_replica_each_get_some_of_it_and_waste_little() {
    for (routers, room, long) in [
        (2, 8, 20),
        (2, 24, 100),
        (3, 8, 100),
        (3, 24, 20),
        (3, 8, 20),
    ] {
        for seed in 0..3 {
            let mut chance = ChaCha20Rng::seed_from_u64(seed);
            let mut replicas = Replicas::new(1, room);
            let mut all: Vec<Router> = (0..routers)
                .map(|n| Router::of(&replicas, 10 * seed + n))
                .collect();
            let mut used = vec![0; all.len()];
            for tick in 0..200 * SECOND {
                // The first has all of it when the others come.
                let here = if tick < 10 * SECOND { 1 } else { all.len() };
                let first = chance.random_range(0..here);
                for n in (0..here).map(|n| (first + n) % here) {
                    all[n].step(&mut replicas, tick, long, &mut chance);
                }
                if tick >= 80 * SECOND {
                    for (used, router) in used.iter_mut().zip(&all) {
                        *used += router.running.len();
                    }
                }
            }
            let ticks = f64::from(120 * SECOND);
            let means: Vec<f64> = used.iter().map(|used| *used as f64 / ticks).collect();
            let even = f64::from(room) / means.len() as f64;
            assert!(
                means.iter().all(|mean| *mean >= even / 4.0)
                    && means.iter().sum::<f64>() >= 0.88 * f64::from(room),
                "seed {seed}, room for {room}, calls of {long} ticks: {means:?}"
            );
        }
    }
}

#[test]
fn what_there_is_room_for_follows_replicas_that_join_leave_and_drain() {
    let mut world = world(Policy::LeastOfTwo, 2, 3);
    let (prompt, second) = (world.prompt(1), Duration::from_secs(1));
    let free = |world: &World| world.placement.vacancy(world.now).free;
    assert!(free(&world) > 1_000_000, "nothing is known");
    let running = [(); 4].map(|()| world.choose(&prompt));
    for _ in 0..2 {
        let refused = world.choose(&prompt);
        world.end(refused, Ending::Full);
    }
    let full = world.placement.vacancy(world.now);
    let in_a_second = Some(world.now + second);
    assert_eq!(
        (full.free, full.more_at, full.not_before),
        (0, in_a_second, None)
    );
    let joined = world.placement.add(world.now);
    assert!(free(&world) > 1_000_000);
    world.placement.drain(joined, true);
    assert_eq!(free(&world), 0);
    world.placement.remove(joined);
    world.end(running[0], Ending::Well);
    assert_eq!(free(&world), 1);
    world.placement.remove(running[0]);
    assert_eq!(free(&world), 0);
    // It is another process when it comes back.
    let other = running.into_iter().find(|id| *id != running[0]).unwrap();
    world.end(other, Ending::Failed(Failure::Refused));
    assert!(free(&world) > 1_000_000);
    world.placement.drain(other, true);
    assert_eq!(free(&world), usize::MAX, "nobody waits for nothing");
}

#[test]
fn what_replicas_say_is_known_beforehand_unless_one_of_them_may_have_room_at_any_time() {
    let mut world = world(Policy::LeastOfTwo, 3, 3);
    let (prompt, second) = (world.prompt(1), Duration::from_secs(1));
    for wait in [30, 20] {
        let id = world.choose(&prompt);
        world.end(id, Ending::Busy(wait * second));
    }
    let last = world.choose(&prompt);
    let refused = world.choose(&prompt);
    assert_eq!(last, refused, "the others are left alone");
    world.end(refused, Ending::Full);
    let vacancy = world.placement.vacancy(world.now);
    assert_eq!((vacancy.free, vacancy.not_before), (0, None));
    world.end(last, Ending::Busy(40 * second));
    let vacancy = world.placement.vacancy(world.now);
    let soonest = Some(world.now + 20 * second);
    assert_eq!((vacancy.free, vacancy.not_before), (0, soonest));
}

#[test]
fn one_that_is_left_out_is_waited_for_until_its_trial_and_then_takes_one_call() {
    let mut world = world(Policy::LeastOfTwo, 2, 4);
    let prompt = world.prompt(1);
    let (failed, busy) = (world.choose(&prompt), world.choose(&prompt));
    assert_ne!(failed, busy);
    world.end(busy, Ending::Busy(Duration::from_secs(30)));
    world.end(failed, Ending::Failed(Failure::Refused));
    let vacancy = world.placement.vacancy(world.now);
    let trial = world.now + LIMITS.breaker.first_backoff;
    assert_eq!((vacancy.free, vacancy.more_at), (0, Some(trial)));
    // It did not say that it wants to be left alone until then: who waits is not sent away.
    assert_eq!(vacancy.not_before, None);
    world.now = trial;
    assert_eq!(world.placement.vacancy(world.now).free, 1);
}

#[test]
fn replicas_are_well_while_one_of_them_is_trusted() {
    let mut world = world(Policy::LeastOfTwo, 2, 5);
    let prompt = world.prompt(1);
    for is_well in [true, false] {
        let id = world.choose(&prompt);
        world.end(id, Ending::Failed(Failure::Refused));
        // The last one standing is left in, as better than none.
        assert_eq!(world.placement.is_well(), is_well);
    }
    assert!(!Placement::new(Policy::LeastOfTwo, LIMITS, 0).is_well());
}

#[test]
fn a_call_finds_a_replica_if_and_only_if_there_is_room_for_one() {
    for seed in 0..200 {
        let mut world = world(Policy::LeastOfTwo, 3, seed);
        let mut running = Vec::new();
        for _ in 0..300 {
            let vacancy = world.placement.vacancy(world.now);
            assert!(vacancy.more_at.is_none_or(|at| at > world.now));
            let prompt = Prompt::default();
            match world.placement.choose(&prompt, &[], world.now) {
                Ok(choice) => {
                    assert!(vacancy.free > 0, "seed {seed}");
                    running.push(choice.id);
                }
                Err(nobody) => {
                    let free = match nobody.retry_after {
                        Some(_) => 0,
                        None => usize::MAX,
                    };
                    assert_eq!(vacancy.free, free, "seed {seed}");
                }
            }
            let ids: Vec<_> = world.placement.states().map(|(id, ..)| id).collect();
            let any = ids[world.chance.random_range(0..ids.len())];
            match world.chance.random_range(0..12) {
                0 => world.placement.drain(any, world.chance.random()),
                1 if ids.len() > 1 => world.placement.remove(any),
                2 if ids.len() < 6 => {
                    world.placement.add(world.now);
                }
                3 => {
                    let health = [Health::Well, Health::Ill][world.chance.random_range(0..2)];
                    let progress = Progress::default();
                    world.placement.asked(any, health, progress, world.now);
                }
                _ => world.now += Duration::from_millis(world.chance.random_range(0..800)),
            }
            while running.len() > world.chance.random_range(0..8) {
                let at = world.chance.random_range(0..running.len());
                let ending = match world.chance.random_range(0..8) {
                    0 | 1 => Ending::Full,
                    2 => Ending::Busy(Duration::from_millis(world.chance.random_range(0..9_000))),
                    3 => Ending::Failed(Failure::Status),
                    4 => Ending::Failed(Failure::Refused),
                    5 => Ending::Unknown,
                    _ => Ending::Well,
                };
                let id = running.swap_remove(at);
                world.end(id, ending);
            }
        }
    }
}
