//! The engines of one model: who they are, who gets the next call, and what became of it. The
//! rules are in [`crate::domain::placement`]; its lock is held for microseconds and never while
//! anything is waited for.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use http::HeaderValue;
use metrics::Counter;
use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified, watch};

use super::{
    at_work::AtWork,
    gauges::{forget_gauges, show_report},
    progress::Counted,
};
use crate::{
    domain::{
        breaker::{Failure, Health},
        engine_report::EngineReport,
        placement::{
            Change, Ending, NobodyLeft, Placement, PlacementLimits, Policy, Prompt, Score, SlotId,
            SlotState, Vacancy,
        },
    },
    series::kept,
};

/// One engine.
#[derive(Debug)]
pub struct Engine {
    /// Its address, without a path.
    pub url: String,
    /// The header that it wants.
    pub authorization: Option<HeaderValue>,
    /// What came from it.
    pub(super) counted: Arc<Counted>,
    /// How often it was left out because nothing came from it.
    fell_silent: watch::Sender<u64>,
    /// Its attempts that went well.
    well: OnceLock<Counter>,
}

/// The engines of one model.
#[derive(Debug)]
pub struct Pool {
    model: String,
    hasher: foldhash::fast::RandomState,
    state: Mutex<State>,
    policy: Policy,
    /// Blocks of prompts that the chosen engine should know, and new ones.
    blocks: [OnceLock<Counter>; 2],
    /// Engines may have room that they had not.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    placement: Placement,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    id: SlotId,
    engine: Arc<Engine>,
    /// Which entry of the configuration named it.
    source: usize,
    /// It is not named any more.
    leaves: bool,
}

/// An engine as its source names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its address, without a path.
    pub url: String,
    /// It is to get no more calls.
    pub draining: bool,
}

impl Pool {
    /// A pool without engines; `seed` is where chance begins.
    #[must_use]
    pub fn new(model: &str, policy: Policy, limits: PlacementLimits, seed: u64) -> Self {
        Self {
            model: model.to_owned(),
            hasher: foldhash::fast::RandomState::default(),
            policy,
            state: Mutex::new(State {
                placement: Placement::new(policy, limits, seed),
                members: Vec::new(),
            }),
            blocks: Default::default(),
            changed: Notify::new(),
        }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// A source names its engines: new ones join, those that it does not name any more get no more
    /// calls and leave when theirs have ended.
    pub fn name(
        &self,
        source: usize,
        named: &[Named],
        authorization: Option<&HeaderValue>,
        now: Instant,
    ) {
        let State { placement, members } = &mut *self.state.lock();
        for Named { url, draining } in named {
            let url = url.trim_end_matches('/');
            let known = |m: &&mut Member| m.source == source && m.engine.url == url;
            if let Some(member) = members.iter_mut().find(known) {
                member.leaves = false;
                placement.drain(member.id, *draining);
                continue;
            }
            let engine = Engine {
                url: url.to_owned(),
                authorization: authorization.cloned(),
                counted: Arc::default(),
                fell_silent: watch::Sender::default(),
                well: OnceLock::new(),
            };
            let id = placement.add(now);
            placement.drain(id, *draining);
            tracing::info!(model = self.model, engine.url, "an engine joined");
            members.push(Member {
                id,
                engine: Arc::new(engine),
                source,
                leaves: false,
            });
        }
        let is_named = |m: &Member| {
            named
                .iter()
                .any(|n| n.url.trim_end_matches('/') == m.engine.url)
        };
        for member in members.iter_mut() {
            if member.source == source && !member.leaves && !is_named(member) {
                member.leaves = true;
                placement.drain(member.id, true);
                tracing::info!(
                    model = self.model,
                    engine.url = member.engine.url,
                    "an engine leaves"
                );
            }
        }
        self.changed.notify_waiters();
    }

    /// Its engines, with how each stands to new calls and how many it runs. Those that left and
    /// run nothing any more are forgotten.
    pub fn engines(&self) -> Vec<(SlotId, Arc<Engine>, SlotState, u32)> {
        let State { placement, members } = &mut *self.state.lock();
        let states: Vec<_> = placement.states().collect();
        let state = |id| {
            let known = states.iter().find(|(known, ..)| *known == id);
            known.map_or((SlotState::Draining, 0), |(_, state, running)| {
                (*state, *running)
            })
        };
        members.retain(|member| {
            let stays = !member.leaves || state(member.id).1 > 0;
            if !stays {
                placement.remove(member.id);
                forget_gauges(&self.model, &member.engine.url);
            }
            stays
        });
        let known = members.iter().map(|member| {
            let (state, running) = state(member.id);
            (member.id, member.engine.clone(), state, running)
        });
        known.collect()
    }

    /// Its engines, with how many blocks of prompts are remembered of each.
    pub(super) fn remembered(&self) -> Vec<(Arc<Engine>, usize)> {
        let state = self.state.lock();
        let of = |id| state.members.iter().find(|member| member.id == id);
        let known = state.placement.remembered();
        known
            .filter_map(|(id, blocks)| Some((of(id)?.engine.clone(), blocks)))
            .collect()
    }

    /// The blocks of a prompt, where the pool's policy has a use for them.
    #[must_use]
    pub fn prompt(&self, parts: [&[u8]; 3]) -> Prompt {
        if self.policy == Policy::PrefixAware && self.state.lock().members.len() > 1 {
            Prompt::of(parts, &self.hasher)
        } else {
            Prompt::default()
        }
    }

    /// Chooses an engine for a prompt, none of `tried`.
    pub fn pick(
        self: &Arc<Self>,
        prompt: &Prompt,
        tried: &[SlotId],
        now: Instant,
    ) -> Result<AtWork, NobodyLeft> {
        let mut state = self.state.lock();
        let choice = state.placement.choose(prompt, tried, now)?;
        let member = state.members.iter().find(|member| member.id == choice.id);
        let Some(engine) = member.map(|member| member.engine.clone()) else {
            return Err(NobodyLeft { retry_after: None });
        };
        drop(state);
        let known = prompt.blocks().len() as u64 - u64::from(choice.new_blocks);
        let told = [("known", known), ("new", u64::from(choice.new_blocks))];
        for (place, (kind, blocks)) in self.blocks.iter().zip(told) {
            let counter = kept(Some(place), || {
                metrics::counter!("inference_routing_placement_blocks",
                    "model" => self.model.clone(), "kind" => kind)
            });
            counter.increment(blocks);
        }
        Ok(AtWork::new(self.clone(), engine, choice))
    }

    /// As [`Placement::vacancy`].
    pub fn vacancy(&self, now: Instant) -> Vacancy {
        self.state.lock().placement.vacancy(now)
    }

    /// As [`Placement::is_well`].
    pub fn is_well(&self) -> bool {
        self.state.lock().placement.is_well()
    }

    /// Waits until its engines may take calls that they took not, otherwise than by time: a call ended, they
    /// were named anew, or one was asked how it is or began anew. From when it is made.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// As [`Placement::pass_by`].
    pub fn pass_by(&self, now: Instant) -> bool {
        self.state.lock().placement.pass_by(now)
    }

    /// As [`Placement::may_go_on`].
    pub fn may_go_on(&self) -> bool {
        self.state.lock().placement.may_go_on()
    }

    /// An engine was asked how it is.
    pub fn asked(&self, id: SlotId, engine: &Engine, health: Health, now: Instant) {
        let progress = engine.counted.progress();
        let mut state = self.state.lock();
        let change = state.placement.asked(id, health, progress, now);
        drop(state);
        self.tell(change, engine);
        if change == Change::Ejected {
            engine.falls_silent();
        }
        self.changed.notify_waiters();
    }

    /// An engine said what it does.
    pub fn reported(&self, id: SlotId, engine: &Engine, report: &EngineReport, now: Instant) {
        let (restarted, found) = self.state.lock().placement.reported(id, report, now);
        show_report(&self.model, &engine.url, report, found);
        if restarted {
            self.changed.notify_waiters();
            metrics::counter!("inference_routing_engine_restarts",
                "model" => self.model.clone(), "engine" => engine.url.clone())
            .increment(1);
            tracing::info!(model = self.model, engine.url, "an engine began anew");
        }
    }

    /// The first token of a call came, whose prompt had so many new blocks.
    pub(super) fn begun(&self, id: SlotId, new_blocks: u32) {
        self.state.lock().placement.begun(id, new_blocks);
    }

    /// A call ended, as in [`Placement::ended`].
    pub(super) fn ended(&self, id: SlotId, engine: &Engine, unbegun: u32, ending: Ending) {
        let mut state = self.state.lock();
        let change = state.placement.ended(id, unbegun, ending, Instant::now());
        drop(state);
        self.changed.notify_waiters();
        let outcome = match ending {
            Ending::Well => "well",
            Ending::Failed(_) => "failed",
            Ending::Busy(_) | Ending::Full => "busy",
            Ending::Unknown => "abandoned",
        };
        let place = Some(&engine.well).filter(|_| ending == Ending::Well);
        let attempts = kept(place, || {
            metrics::counter!("inference_routing_attempts", "model" => self.model.clone(),
                "engine" => engine.url.clone(), "outcome" => outcome)
        });
        attempts.increment(1);
        self.tell(change, engine);
        if ending == Ending::Failed(Failure::Silent) && change == Change::Ejected {
            engine.falls_silent();
        }
    }

    /// Scores as text: each engine with the blocks it would have to do anew and the calls it ran.
    pub(super) fn shown(&self, scores: &[Score]) -> String {
        let state = self.state.lock();
        let of = |id| state.members.iter().find(|member| member.id == id);
        let scores = scores.iter().map(|score| {
            let url = of(score.id).map_or("", |member| &member.engine.url);
            let (blocks, running) = (score.new_blocks, score.running);
            format!(
                "{url} new={blocks} running={running} score={:.2}",
                score.score
            )
        });
        scores.collect::<Vec<_>>().join("; ")
    }

    fn tell(&self, change: Change, engine: &Engine) {
        let (name, text) = match change {
            Change::None => return,
            Change::Ejected => ("ejected", "an engine is left out"),
            Change::Trusted => ("trusted", "an engine is trusted again"),
        };
        metrics::counter!("inference_routing_engine_changes",
            "model" => self.model.clone(), "engine" => engine.url.clone(), "to" => name)
        .increment(1);
        tracing::info!(model = self.model, engine.url, "{text}");
    }
}

impl Engine {
    /// Tells each time that it is left out because nothing came from it.
    pub(super) fn silences(&self) -> watch::Receiver<u64> {
        self.fell_silent.subscribe()
    }

    /// Who waits for its first token may look elsewhere.
    fn falls_silent(&self) {
        self.fell_silent.send_modify(|times| *times += 1);
    }
}

/// When to come again to an engine that says only that it is busy, and how long one is left alone at most.
pub const BUSY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
