//! Places to run: bounded for a model and for each account, given in fair turns.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use wanwu_ids::{AccountId, AppId};

use crate::{
    config::ChatConfig,
    domain::{
        fair_queue::{FairQueue, Next, Turn},
        table::Table,
    },
};

/// How much of the mean a new reading makes: one of so many.
const SMOOTH: f64 = 16.0;
/// The longest time that a refused call is told to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The places of one model.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
    max_running: usize,
    max_running_per_account: usize,
    queue_timeout: Duration,
    retry_after: Duration,
}

#[derive(Debug)]
struct State {
    queue: FairQueue<oneshot::Sender<Place>>,
    running: usize,
    accounts: Table<AccountId, usize>,
    pace: Pace,
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
}

/// There is no place, and none came free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many calls run and wait")]
pub struct Busy {
    /// When those that wait now may have run.
    pub retry_after: Duration,
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
    /// Places as configured; `max_running` is the model's own number of them.
    #[must_use]
    pub fn new(config: &ChatConfig, max_running: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                queue: FairQueue::new(config.max_waiting, (config.max_waiting / 4).max(1)),
                running: 0,
                accounts: Table::default(),
                pace: Pace::default(),
            }),
            max_running: max_running.unwrap_or(config.max_running),
            max_running_per_account: config.max_running_per_account,
            queue_timeout: config.queue_timeout,
            retry_after: config.retry_after,
        })
    }

    /// Waits for a place.
    pub async fn enter(self: &Arc<Self>, turn: Turn) -> Result<Place, Busy> {
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
        match timeout(self.queue_timeout, place).await {
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

    fn busy(&self) -> Busy {
        let state = self.state.lock();
        let seconds = state.pace.interval * (state.queue.len() + 1) as f64;
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_WAIT);
        Busy {
            retry_after: wait.clamp(self.retry_after, LONGEST_WAIT.max(self.retry_after)),
        }
    }

    /// Gives free places to those whose turn it is.
    fn give_places(self: &Arc<Self>) {
        loop {
            let mut state = self.state.lock();
            if state.running >= self.max_running {
                return;
            }
            let State {
                queue,
                accounts,
                pace,
                ..
            } = &mut *state;
            let may = |account| {
                accounts
                    .get(&account)
                    .is_none_or(|running| *running < self.max_running_per_account)
            };
            // What it will be is not known: as calls were lately.
            let cost = pace.tokens.max(1.0) as u64;
            let Some(Next { account, app, call }) = queue.pop(cost, may) else {
                return;
            };
            state.running += 1;
            *state.accounts.entry(account).or_default() += 1;
            drop(state);
            // Who stopped waiting drops the place, which gives it on.
            let _ = call.send(Place {
                admission: self.clone(),
                account,
                app,
                cost,
                served: 0,
            });
        }
    }
}

impl Place {
    /// The call was served so many tokens.
    pub const fn served(&mut self, tokens: u64) {
        self.served = tokens;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut state = self.admission.state.lock();
            state.running -= 1;
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
            state.pace.ended(self.served, others_wait, Instant::now());
        }
        self.admission.give_places();
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::limits::Priority;

    fn admission(running: usize, per_account: usize, waiting: usize) -> Arc<Admission> {
        let config = ChatConfig {
            max_running: running,
            max_running_per_account: per_account,
            max_waiting: waiting,
            queue_timeout: Duration::from_millis(50),
            retry_after: Duration::from_secs(1),
            begin_after: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(60),
            least_output_tokens: 1,
            progress_tokens: 64,
            progress_every: Duration::from_millis(250),
        };
        Admission::new(&config, None)
    }

    fn turn(n: u128) -> Turn {
        Turn {
            account: AccountId::from_uuid(Uuid::from_u128(n)),
            app: AppId::from_uuid(Uuid::from_u128(9)),
            account_priority: Priority::Normal,
            key_priority: Priority::Normal,
        }
    }

    #[tokio::test]
    async fn a_place_is_given_on_when_it_comes_free() {
        let admission = admission(1, 1, 2);
        let place = admission.enter(turn(1)).await.unwrap();
        let next = tokio::spawn({
            let admission = admission.clone();
            async move { admission.enter(turn(2)).await.map(drop) }
        });
        tokio::task::yield_now().await;
        drop(place);
        assert_eq!(next.await.unwrap(), Ok(()));
        assert!(admission.enter(turn(3)).await.is_ok());
    }

    #[tokio::test]
    async fn one_account_cannot_take_every_place() {
        let admission = admission(3, 1, 2);
        let _place = admission.enter(turn(1)).await.unwrap();
        assert!(admission.enter(turn(1)).await.is_err());
        assert!(admission.enter(turn(2)).await.is_ok());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_says_when_to_come_again() {
        let admission = admission(1, 1, 1);
        let _place = admission.enter(turn(1)).await.unwrap();
        let waiting = admission.enter(turn(2));
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        let started = std::time::Instant::now();
        let busy = admission.enter(turn(3)).await.unwrap_err();
        assert_eq!(busy.retry_after, Duration::from_secs(1));
        assert!(started.elapsed() < Duration::from_millis(40));
    }

    #[test]
    fn the_wait_that_a_refused_call_is_told_follows_the_pace() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        for _ in 0..200 {
            now += Duration::from_secs(3);
            pace.ended(100, true, now);
        }
        assert!((pace.interval - 3.0).abs() < 0.01, "{pace:?}");
        assert!((pace.tokens - 100.0).abs() < 0.01, "{pace:?}");
        // A pause in which nobody waited says nothing of the pace.
        pace.ended(100, false, now + Duration::from_secs(600));
        assert!(pace.interval < 3.1, "{pace:?}");
    }
}
