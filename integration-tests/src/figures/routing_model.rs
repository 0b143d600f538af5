//! Engines and routers in virtual time, for figures about placement.
//!
//! The rules are inference-routing's own module, and plain ones to put beside it; the engines are modelled
//! here: each has a cache of so many 512-token blocks, the least recently used forgotten first, takes one
//! prompt after the other at 8,000 new tokens a second, and needs 6 ms and 0.35 ms for each running call
//! for a token. Nothing of the services runs; the way to engines adds nothing here.

mod chooser;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use inference_routing::domain::placement::{PrefixCache, Prompt};
use wanwu_grpc::{Affinity, Candidate, Recent, stable_hash};

use super::routing_trace::{BEGINNING, BLOCK_TOKENS, Request};
use chooser::{Choose, Chosen};
pub(super) use chooser::{Load, Rule};

/// Engines of a pool, where nothing else is said.
const ENGINES: usize = 8;
const PREFILL_TOKENS_A_SECOND: f64 = 8_000.0;
const STEP: Duration = Duration::from_millis(6);
const STEP_OF_EACH: Duration = Duration::from_micros(350);
/// Routers were there long before, where nothing else is said.
const JOINED: Duration = Duration::from_secs(3600);

/// How calls come to routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Each router in turn.
    InTurn,
    /// What begins alike goes to the same router, by the rule of the edge's channel.
    ByBeginning,
}

/// Engines, and the routers before them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    pub engines: usize,
    /// What each engine keeps.
    pub blocks: usize,
    pub rule: Rule,
    pub routers: usize,
    pub way: Way,
    /// When the first router begins anew: it knows nothing, and the edge goes easy on it.
    pub begins_anew: Option<Duration>,
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

impl Model {
    /// One router and the usual engines.
    pub(super) const fn of(rule: Rule, blocks: usize) -> Self {
        Self {
            engines: ENGINES,
            blocks,
            rule,
            routers: 1,
            way: Way::InTurn,
            begins_anew: None,
        }
    }

    /// Plays the requests.
    pub(super) fn replay(&self, requests: &[Request]) -> Replay {
        let mut play = Play::of(self, requests.len());
        let mut begins_anew = self.begins_anew;
        for request in requests {
            let now = Duration::from_millis(request.timestamp);
            play.come_to(now);
            if begins_anew.take_if(|at| *at <= now).is_some() {
                play.begin_anew(self);
            }
            play.ask(request, self.way);
        }
        play.shown()
    }
}

/// An engine's model.
struct Engine {
    cache: PrefixCache,
    /// When it has done the prompts that it has.
    free_at: Duration,
    running: u32,
    calls: u32,
}

/// A router replica's own view.
struct Router {
    chooser: Box<dyn Choose>,
    name: u64,
    recent: Recent,
    /// When it joined; none: long before.
    joined: Option<Duration>,
    /// Its first call: those before it are of the process before.
    first: usize,
}

/// What happens next to a call: its first token, then its end.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Happening(Duration, usize, bool);

/// A replay as it goes on.
struct Play {
    from: Instant,
    now: Duration,
    routers: Vec<Router>,
    engines: Vec<Engine>,
    /// Where each call went, and by way of which router.
    calls: Vec<(Chosen, usize)>,
    coming: BinaryHeap<Reverse<Happening>>,
    /// Calls of each router.
    got: Vec<u32>,
    found: u64,
    all: u64,
    waits: Vec<Duration>,
    choosing: Duration,
}

impl Play {
    fn of(model: &Model, calls: usize) -> Self {
        let from = Instant::now();
        let router = |n: usize| Router {
            chooser: model.rule.chooser(model.engines, n as u64, from),
            name: stable_hash(format!("10.0.0.{n}:7100").as_bytes()),
            recent: Recent::default(),
            joined: None,
            first: 0,
        };
        Self {
            from,
            now: Duration::ZERO,
            routers: (0..model.routers).map(router).collect(),
            engines: (0..model.engines)
                .map(|_| Engine::new(model.blocks))
                .collect(),
            calls: Vec::with_capacity(calls),
            coming: BinaryHeap::new(),
            got: vec![0; model.routers],
            found: 0,
            all: 0,
            waits: Vec::with_capacity(calls),
            choosing: Duration::ZERO,
        }
    }

    /// What is due until then happens.
    fn come_to(&mut self, now: Duration) {
        self.now = now;
        while self.coming.peek().is_some_and(|Reverse(it)| it.0 <= now) {
            let Some(Reverse(Happening(at, call, ends))) = self.coming.pop() else {
                break;
            };
            let (chosen, router) = self.calls[call];
            if ends {
                self.engines[chosen.engine].running -= 1;
            }
            let router = &mut self.routers[router];
            match (call >= router.first, ends) {
                (true, true) => router.chooser.ended(chosen, self.from + at),
                (true, false) => router.chooser.begun(chosen),
                (false, _) => {}
            }
        }
    }

    /// The first router is another process from now on.
    fn begin_anew(&mut self, model: &Model) {
        let now = self.from + self.now;
        let seed = self.routers.len() as u64;
        let router = &mut self.routers[0];
        router.chooser = model.rule.chooser(model.engines, seed, now);
        router.recent = Recent::default();
        router.joined = Some(self.now);
        router.first = self.calls.len();
    }

    /// A call comes.
    fn ask(&mut self, request: &Request, way: Way) {
        let now = self.now;
        let which = match way {
            Way::InTurn => self.calls.len() % self.routers.len(),
            Way::ByBeginning => by_beginning(&self.routers, &request.hash_ids, now),
        };
        let router = &mut self.routers[which];
        router.recent.count(now);
        self.got[which] += 1;
        let hashes = request.hash_ids.iter().map(|id| mixed(*id)).collect();
        let prompt = Prompt::from_blocks(hashes);
        let asked = Instant::now();
        let Some(chosen) = router.chooser.choose(&prompt, self.from + now) else {
            return;
        };
        self.choosing += asked.elapsed();
        let (found, first, end) = self.engines[chosen.engine].take(request, &prompt, now);
        self.found += found;
        self.all += request.hash_ids.len() as u64;
        self.waits.push(first - now);
        let call = self.calls.len();
        self.coming.push(Reverse(Happening(first, call, false)));
        self.coming.push(Reverse(Happening(end, call, true)));
        self.calls.push((chosen, which));
    }

    fn shown(mut self) -> Replay {
        self.waits.sort();
        let (waits, calls) = (&self.waits, self.calls.len());
        let beside_the_mean =
            |most: Option<u32>, of: usize| f64::from(most.unwrap_or(0)) * of as f64 / calls as f64;
        let most = self.engines.iter().map(|engine| engine.calls).max();
        let busiest = self.got.iter().copied().max();
        Replay {
            hit: 100.0 * self.found as f64 / self.all as f64,
            first_token: [waits[waits.len() / 2], waits[waits.len() * 9 / 10]],
            spread: beside_the_mean(most, self.engines.len()),
            busiest: beside_the_mean(busiest, self.routers.len()),
            choice: self.choosing / calls as u32,
        }
    }
}

/// The router that the edge would choose for what begins with these blocks.
fn by_beginning(routers: &[Router], ids: &[u64], now: Duration) -> usize {
    let beginning = &ids[..ids.len().min(BEGINNING)];
    let bytes: Vec<u8> = beginning.iter().flat_map(|id| id.to_le_bytes()).collect();
    let candidates = routers.iter().map(|router| Candidate {
        name: router.name,
        recent: router.recent.at(now),
        joined: router.joined.map_or(JOINED, |at| now - at),
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
