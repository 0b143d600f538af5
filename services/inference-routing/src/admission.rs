//! Places to run: bounded for a model, for each account and by what the model's engines have room for, given in
//! fair turns.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, sleep_until, timeout_at},
};
use wanwu_ids::{AccountId, AppId};

use crate::{
    config::ChatConfig,
    domain::{
        fair_queue::{FairQueue, Next, Turn},
        table::Table,
    },
    engine::pool::Pool,
};

/// How much of the mean a new reading makes: one of so many.
const SMOOTH: f64 = 16.0;
/// The longest time that a refused call is told to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// When room at the engines is looked for again where no time is known.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The places of one model.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
    /// The engines that calls with places are for.
    pool: Arc<Pool>,
    max_running: usize,
    max_running_per_account: usize,
    retry_after: Duration,
}

#[derive(Debug)]
struct State {
    queue: FairQueue<oneshot::Sender<Place>>,
    running: usize,
    /// Of those, calls that no engine has yet: room is kept for them.
    coming: usize,
    accounts: Table<AccountId, usize>,
    pace: Pace,
    /// Somebody looks for room at the engines.
    watched: bool,
}

/// What calls were like lately.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// Tokens of a call.
    tokens: f64,
    /// Seconds between two ends of calls while others waited.
    interval: f64,
    last_end: Option<Instant>,
}

/// A place to run: given on when dropped.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    account: AccountId,
    app: AppId,
    cost: u64,
    served: u64,
    /// No engine has the call yet.
    coming: bool,
    /// The call ran: how long calls take is learned from its end.
    ran: bool,
}

/// There is no place, and none came free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many calls run and wait")]
pub struct Busy {
    /// When those that wait now may have run, and an engine wants calls again.
    pub retry_after: Duration,
}

/// What a free place is for.
enum Turned {
    /// The next call.
    Call(Next<oneshot::Sender<Place>>, u64),
    /// Somebody waits for room at the engines: it is to be looked for by then.
    Short(Instant),
    /// Nobody.
    Nobody,
}

impl Pace {
    fn ended(&mut self, tokens: u64, others_wait: bool, now: Instant) {
        if tokens > 0 {
            self.tokens += (tokens as f64 - self.tokens) / SMOOTH;
        }
        if let Some(last) = self.last_end.replace(now).filter(|_| others_wait) {
            let interval = (now - last).as_secs_f64();
            self.interval += (interval - self.interval) / SMOOTH;
        }
    }
}

impl Admission {
    /// Places as configured for calls to these engines; `max_running` is the model's own number of them.
    #[must_use]
    pub fn new(config: &ChatConfig, max_running: Option<usize>, pool: Arc<Pool>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                queue: FairQueue::new(config.max_waiting, (config.max_waiting / 4).max(1)),
                running: 0,
                coming: 0,
                accounts: Table::default(),
                pace: Pace::default(),
                watched: false,
            }),
            pool,
            max_running: max_running.unwrap_or(config.max_running),
            max_running_per_account: config.max_running_per_account,
            retry_after: config.retry_after,
        })
    }

    /// Waits for a place, `until` then at most.
    pub async fn enter(self: &Arc<Self>, turn: Turn, until: Instant) -> Result<Place, Busy> {
        let (sender, place) = oneshot::channel();
        {
            let queue = &mut self.state.lock().queue;
            if queue.is_full() {
                queue.retain(|waiting| !waiting.is_closed());
            }
            if let Err(sender) = queue.push(turn, sender) {
                // Of its own account's, some may have gone away.
                queue.retain(|waiting| !waiting.is_closed());
                // Given back or given up: whose it is learns of it by the drop.
                drop(queue.push(turn, sender));
            }
        }
        self.give_places();
        match timeout_at(until, place).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(self.busy()),
        }
    }

    /// Calls that run and that wait.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.running, state.queue.len())
    }

    /// When the engines have room for another call. None: now. What is not after now: as soon as one ends.
    #[must_use]
    pub fn opens(&self) -> Option<Instant> {
        let now = Instant::now();
        let coming = self.state.lock().coming;
        let vacancy = self.pool.vacancy(now.into_std());
        let opens = vacancy.not_before.map_or(now, Instant::from_std);
        (coming >= vacancy.free).then_some(opens)
    }

    /// What a call is told that gets no place.
    #[must_use]
    pub fn busy(&self) -> Busy {
        let state = self.state.lock();
        let (waiting, interval) = (state.queue.len(), state.pace.interval);
        drop(state);
        // Before the first engine wants calls again nobody runs.
        let opens = self.opens().map(|opens| opens - Instant::now());
        let opens = opens.unwrap_or_default();
        let wait = Duration::try_from_secs_f64(interval * (waiting + 1) as f64);
        let wait = wait.unwrap_or(LONGEST_WAIT);
        let wait = wait.clamp(self.retry_after, LONGEST_WAIT.max(self.retry_after));
        Busy {
            retry_after: match waiting {
                0 if !opens.is_zero() => opens,
                _ => wait.max(opens),
            },
        }
    }

    /// Gives free places to those whose turn it is. Where somebody waits for room at the engines, it is
    /// looked for from then on.
    fn give_places(self: &Arc<Self>) {
        if self.give(false).is_none() {
            return;
        }
        // Places are given back until the very end of a process.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if !std::mem::replace(&mut self.state.lock().watched, true) {
            runtime.spawn(self.clone().watch());
        }
    }

    /// Looks for room at the engines as long as somebody waits for it.
    async fn watch(self: Arc<Self>) {
        loop {
            // From before it looks: what changes after that is not missed.
            let changed = self.pool.changed();
            let Some(by_then) = self.give(true) else {
                return;
            };
            tokio::select! {
                () = changed => {}
                () = sleep_until(by_then) => {}
            }
        }
    }

    /// As [`Self::give_places`]; answers by when room is to be looked for where somebody waits for it. Who
    /// `watches` stops where nobody does.
    fn give(self: &Arc<Self>, watches: bool) -> Option<Instant> {
        loop {
            let mut state = self.state.lock();
            let (next, cost) = match self.turn(&mut state) {
                Turned::Call(next, cost) => (next, cost),
                Turned::Short(by_then) => return Some(by_then),
                Turned::Nobody => {
                    state.watched &= !watches;
                    return None;
                }
            };
            state.running += 1;
            state.coming += 1;
            *state.accounts.entry(next.account).or_default() += 1;
            drop(state);
            // Who stopped waiting drops the place, which gives it on.
            let _ = next.call.send(Place {
                admission: self.clone(),
                account: next.account,
                app: next.app,
                cost,
                served: 0,
                coming: true,
                ran: true,
            });
        }
    }

    /// Whose turn it is, if anybody's.
    fn turn(&self, state: &mut State) -> Turned {
        let State {
            queue,
            running,
            coming,
            accounts,
            pace,
            ..
        } = state;
        if queue.is_empty() || *running >= self.max_running {
            return Turned::Nobody;
        }
        let now = Instant::now();
        let vacancy = self.pool.vacancy(now.into_std());
        if *coming >= vacancy.free {
            let by_then = vacancy.more_at.map(Instant::from_std);
            return Turned::Short(by_then.unwrap_or(now + LOOK_AGAIN));
        }
        let may = |account| {
            accounts
                .get(&account)
                .is_none_or(|running| *running < self.max_running_per_account)
        };
        // What it will be is not known: as calls were lately.
        let cost = pace.tokens.max(1.0) as u64;
        while let Some(next) = queue.pop(cost, may) {
            if !next.call.is_closed() {
                return Turned::Call(next, cost);
            }
            queue.end(next.account, next.app, cost, 0);
        }
        Turned::Nobody
    }
}

impl Place {
    /// An engine has the call, or none will: room is not kept for it any more.
    pub fn arrived(&mut self) {
        if std::mem::take(&mut self.coming) {
            self.admission.state.lock().coming -= 1;
            self.admission.give_places();
        }
    }

    /// The call was served so many tokens.
    pub const fn served(&mut self, tokens: u64) {
        self.served = tokens;
    }

    /// Gives it on: the call could not run.
    pub fn give_back(mut self) {
        self.ran = false;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut state = self.admission.state.lock();
            state.running -= 1;
            state.coming -= usize::from(self.coming);
            if let Some(running) = state.accounts.get_mut(&self.account) {
                *running -= 1;
                if *running == 0 {
                    state.accounts.remove(&self.account);
                }
            }
            let others_wait = !state.queue.is_empty();
            state
                .queue
                .end(self.account, self.app, self.cost, self.served);
            if self.ran {
                state.pace.ended(self.served, others_wait, Instant::now());
            }
        }
        self.admission.give_places();
    }
}

#[cfg(test)]
mod tests;
