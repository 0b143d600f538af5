//! How a router of the model chooses among engines: by inference-routing's own placement, or by the
//! plainest rule that minds both caches and load.

use std::time::Instant;

use inference_routing::domain::placement::{
    Ending, Placement, PlacementLimits, Policy, PrefixCache, Prompt, SlotId,
};

/// Calls of the pool, for each of its engines, in which the plain rule forgets one.
const FORGOTTEN: f64 = 100.0;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Rule {
    /// inference-routing's placement.
    Ours(Policy),
    /// (new blocks + 1) x (load + 1), the least.
    Plain(Load),
}

/// What load is to the plain rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Load {
    /// The calls that an engine got lately.
    Recent,
    /// The calls that it runs.
    Running,
}

/// What was chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub engine: usize,
    new_blocks: u32,
}

/// A router's view of its engines.
pub(super) trait Choose {
    /// The engine for a prompt, if any can be chosen.
    fn choose(&mut self, prompt: &Prompt, now: Instant) -> Option<Chosen>;
    /// The first token of what was chosen came.
    fn begun(&mut self, chosen: Chosen);
    /// The call ended.
    fn ended(&mut self, chosen: Chosen, now: Instant);
}

impl Rule {
    /// The view of a router that knows nothing yet of so many engines.
    pub(super) fn chooser(self, engines: usize, seed: u64, now: Instant) -> Box<dyn Choose> {
        match self {
            Self::Ours(policy) => {
                let mut placement = Placement::new(policy, PlacementLimits::DEFAULT, seed);
                let ids = (0..engines).map(|_| placement.add(now)).collect();
                Box::new(Placed { placement, ids })
            }
            Self::Plain(load) => {
                let known = |_| Known {
                    cache: PrefixCache::new(PlacementLimits::DEFAULT.blocks),
                    load: 0.0,
                };
                let engines = (0..engines).map(known).collect();
                let turn = seed as usize;
                Box::new(Plain {
                    load,
                    engines,
                    turn,
                })
            }
        }
    }
}

/// inference-routing's placement.
struct Placed {
    placement: Placement,
    ids: Vec<SlotId>,
}

impl Choose for Placed {
    fn choose(&mut self, prompt: &Prompt, now: Instant) -> Option<Chosen> {
        let choice = self.placement.choose(prompt, &[], now).ok()?;
        let engine = self.ids.iter().position(|id| *id == choice.id)?;
        Some(Chosen {
            engine,
            new_blocks: choice.new_blocks,
        })
    }

    fn begun(&mut self, chosen: Chosen) {
        self.placement
            .begun(self.ids[chosen.engine], chosen.new_blocks);
    }

    fn ended(&mut self, chosen: Chosen, now: Instant) {
        let id = self.ids[chosen.engine];
        self.placement.ended(id, 0, Ending::Well, now);
    }
}

/// The plain rule.
struct Plain {
    load: Load,
    engines: Vec<Known>,
    /// Of equals, the first from here on.
    turn: usize,
}

/// What the plain rule knows of an engine.
struct Known {
    cache: PrefixCache,
    load: f64,
}

impl Known {
    fn new_blocks(&self, prompt: &Prompt) -> u32 {
        let blocks = prompt.blocks();
        (blocks.len() - self.cache.matched(blocks)) as u32
    }

    fn score(&self, prompt: &Prompt) -> f64 {
        (f64::from(self.new_blocks(prompt)) + 1.0) * (self.load + 1.0)
    }
}

impl Choose for Plain {
    fn choose(&mut self, prompt: &Prompt, _: Instant) -> Option<Chosen> {
        let count = self.engines.len();
        self.turn += 1;
        let scores = (0..count).map(|n| {
            let engine = (self.turn + n) % count;
            (engine, self.engines[engine].score(prompt))
        });
        let (engine, _) = scores.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        if self.load == Load::Recent {
            for engine in &mut self.engines {
                engine.load *= 1.0 - 1.0 / (FORGOTTEN * count as f64);
            }
        }
        let known = &mut self.engines[engine];
        let new_blocks = known.new_blocks(prompt);
        known.load += 1.0;
        known.cache.insert(prompt.blocks());
        Some(Chosen { engine, new_blocks })
    }

    fn begun(&mut self, _: Chosen) {}

    fn ended(&mut self, chosen: Chosen, _: Instant) {
        if self.load == Load::Running {
            self.engines[chosen.engine].load -= 1.0;
        }
    }
}
