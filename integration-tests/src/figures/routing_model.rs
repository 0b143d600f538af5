//! Engines and routers in virtual time, for figures about placement.
//!
//! The rules are inference-routing's own module; the engines are modelled here: each has a cache of so
//! many 512-token blocks, the least recently used forgotten first, takes one prompt after the other at
//! 8,000 new tokens a second, and needs 6 ms and 0.35 ms for each running call for a token. Nothing of
//! the services runs; the way to engines adds nothing here.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use inference_routing::domain::{
    breaker::BreakerLimits,
    placement::{Choice, Ending, Placement, PlacementLimits, Policy, PrefixCache, Prompt, SlotId},
};
use wanwu_grpc::{Affinity, Candidate, Recent, stable_hash};

use super::routing_trace::{BEGINNING, BLOCK_TOKENS, Request};

const ENGINES: usize = 8;
const PREFILL_TOKENS_A_SECOND: f64 = 8_000.0;
const STEP: Duration = Duration::from_millis(6);
const STEP_OF_EACH: Duration = Duration::from_micros(350);
/// As inference-routing's defaults.
const LIMITS: PlacementLimits = PlacementLimits {
    breaker: BreakerLimits {
        failures: 3,
        transport_failures: 5,
        first_backoff: Duration::from_secs(1),
        longest_backoff: Duration::from_secs(30),
    },
    stall: Duration::from_secs(20),
    slow_start: Duration::from_secs(30),
    blocks: 65_536,
};

/// All routers were there long before.
const JOINED: Duration = Duration::from_secs(3600);

/// How calls come to routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Each router in turn.
    InTurn,
    /// What begins alike goes to the same router, by the rule of the edge's channel.
    ByBeginning,
}

/// What one replay showed.
pub(super) struct Replay {
    /// Blocks found, in per cent.
    pub hit: f64,
    /// Its median and its ninth decile.
    pub first_token: [Duration; 2],
    /// The calls of the busiest engine in comparison with the mean.
    pub spread: f64,
    /// The calls of the busiest router in comparison with the mean.
    pub busiest: f64,
    /// What one choice took.
    pub choice: Duration,
}

/// An engine's model.
struct Engine {
    cache: PrefixCache,
    /// When it has done the prompts that it has.
    free_at: Duration,
    running: u32,
    calls: u32,
}

/// What happens next to a call: its first token, then its end.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Happening(Duration, usize, bool);

/// A router replica's own view.
struct Router {
    placement: Placement,
    ids: Vec<SlotId>,
    name: u64,
    recent: Recent,
}

/// Plays the requests through so many routers to the engines, each with a cache of `blocks`.
pub(super) fn replay(
    requests: &[Request],
    blocks: usize,
    policy: Policy,
    routers: usize,
    way: Way,
) -> Replay {
    let from = Instant::now();
    let mut routers: Vec<Router> = (0..routers)
        .map(|n| router(policy, n as u64, from))
        .collect();
    let mut engines: Vec<Engine> = (0..ENGINES).map(|_| Engine::new(blocks)).collect();
    let mut running: Vec<(Choice, usize, usize)> = Vec::new();
    let mut coming: BinaryHeap<Reverse<Happening>> = BinaryHeap::new();
    let mut got = vec![0_u32; routers.len()];
    let (mut hit, mut all, mut waits) = (0, 0, Vec::new());
    let mut choosing = Duration::ZERO;
    for (turn, request) in requests.iter().enumerate() {
        let now = Duration::from_millis(request.timestamp);
        while coming.peek().is_some_and(|Reverse(next)| next.0 <= now) {
            let Some(Reverse(Happening(at, call, ends))) = coming.pop() else {
                break;
            };
            let (choice, router, engine) = &running[call];
            let placement = &mut routers[*router].placement;
            if ends {
                engines[*engine].running -= 1;
                placement.ended(choice.id, 0, Ending::Well, from + at);
            } else {
                placement.begun(choice.id, choice.new_blocks);
            }
        }
        let which = match way {
            Way::InTurn => turn % routers.len(),
            Way::ByBeginning => by_beginning(&routers, &request.hash_ids, now),
        };
        routers[which].recent.count(now);
        got[which] += 1;
        let hashes = request.hash_ids.iter().map(|id| mixed(*id)).collect();
        let prompt = Prompt::from_blocks(hashes);
        let asked = Instant::now();
        let Ok(choice) = routers[which].placement.choose(&prompt, &[], from + now) else {
            continue;
        };
        choosing += asked.elapsed();
        let place = routers[which].ids.iter().position(|id| *id == choice.id);
        let at = place.unwrap_or_default();
        let (found, first, end) = engines[at].take(request, &prompt, now);
        hit += found;
        all += request.hash_ids.len() as u64;
        waits.push(first - now);
        coming.push(Reverse(Happening(first, running.len(), false)));
        coming.push(Reverse(Happening(end, running.len(), true)));
        running.push((choice, which, at));
    }
    waits.sort();
    let most = engines.iter().map(|engine| engine.calls).max().unwrap_or(0);
    Replay {
        hit: 100.0 * hit as f64 / all as f64,
        first_token: [waits[waits.len() / 2], waits[waits.len() * 9 / 10]],
        spread: f64::from(most) * ENGINES as f64 / requests.len() as f64,
        busiest: f64::from(got.iter().copied().max().unwrap_or(0)) * got.len() as f64
            / requests.len() as f64,
        choice: choosing / requests.len() as u32,
    }
}

fn router(policy: Policy, seed: u64, now: Instant) -> Router {
    let mut placement = Placement::new(policy, LIMITS, seed);
    let ids = (0..ENGINES).map(|_| placement.add(now)).collect();
    Router {
        placement,
        ids,
        name: stable_hash(format!("10.0.0.{seed}:7100").as_bytes()),
        recent: Recent::default(),
    }
}

/// The router that the edge would choose for what begins with these blocks.
fn by_beginning(routers: &[Router], ids: &[u64], now: Duration) -> usize {
    let beginning = &ids[..ids.len().min(BEGINNING)];
    let bytes: Vec<u8> = beginning.iter().flat_map(|id| id.to_le_bytes()).collect();
    let candidates = routers.iter().map(|router| Candidate {
        name: router.name,
        recent: router.recent.at(now),
        joined: JOINED,
    });
    let candidates: Vec<_> = candidates.collect();
    Affinity(stable_hash(&bytes))
        .choose(&candidates)
        .unwrap_or_default()
}

impl Engine {
    fn new(blocks: usize) -> Self {
        Self {
            cache: PrefixCache::new(blocks),
            free_at: Duration::ZERO,
            running: 0,
            calls: 0,
        }
    }

    /// Takes a call; answers the blocks found, and when its first token comes and its last.
    fn take(
        &mut self,
        request: &Request,
        prompt: &Prompt,
        now: Duration,
    ) -> (u64, Duration, Duration) {
        let found = self.cache.matched(prompt.blocks()) as u64;
        self.cache.insert(prompt.blocks());
        let anew = request
            .input_length
            .saturating_sub(found * BLOCK_TOKENS)
            .max(1);
        let work = Duration::from_secs_f64(anew as f64 / PREFILL_TOKENS_A_SECOND);
        let first = self.free_at.max(now) + work;
        self.free_at = first;
        self.running += 1;
        self.calls += 1;
        let step = STEP + STEP_OF_EACH * self.running;
        (found, first, first + step * request.output_length as u32)
    }
}

/// The trace counts its blocks; ours are hashes.
const fn mixed(id: u64) -> u64 {
    let id = (id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    id ^ (id >> 32)
}
