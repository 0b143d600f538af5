//! Places to run: bounded for a model and for each account, given in fair turns.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout};
use wanwu_ids::{AccountId, AppId};

use crate::{config::ChatConfig, domain::fair_queue::FairQueue};

/// The places of one model.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
    max_running: usize,
    max_running_per_account: usize,
    queue_timeout: Duration,
}

#[derive(Debug)]
struct State {
    queue: FairQueue<oneshot::Sender<Place>>,
    running: usize,
    accounts: HashMap<AccountId, usize>,
}

/// A place to run: given on when dropped.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    account: AccountId,
}

/// There is no place, and none came free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many calls run and wait")]
pub struct Busy;

impl Admission {
    /// Places as configured.
    #[must_use]
    pub fn new(config: &ChatConfig) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                queue: FairQueue::new(config.max_waiting, (config.max_waiting / 4).max(1)),
                running: 0,
                accounts: HashMap::new(),
            }),
            max_running: config.max_running,
            max_running_per_account: config.max_running_per_account,
            queue_timeout: config.queue_timeout,
        })
    }

    /// Waits for a place.
    pub async fn enter(self: &Arc<Self>, account: AccountId, app: AppId) -> Result<Place, Busy> {
        let (sender, place) = oneshot::channel();
        {
            let queue = &mut self.state.lock().queue;
            if let Err(sender) = queue.push(account, app, sender) {
                // Some may have gone away.
                queue.retain(|waiting| !waiting.is_closed());
                queue.push(account, app, sender).map_err(|_| Busy)?;
            }
        }
        self.give_places();
        timeout(self.queue_timeout, place)
            .await
            .map_err(|_| Busy)?
            .map_err(|_| Busy)
    }

    /// Gives free places to those whose turn it is.
    fn give_places(self: &Arc<Self>) {
        loop {
            let mut state = self.state.lock();
            if state.running == self.max_running {
                return;
            }
            let State {
                queue, accounts, ..
            } = &mut *state;
            let may = |account| {
                accounts
                    .get(&account)
                    .is_none_or(|running| *running < self.max_running_per_account)
            };
            let Some((account, waiting)) = queue.pop(may) else {
                return;
            };
            if waiting.is_closed() {
                continue;
            }
            state.running += 1;
            *state.accounts.entry(account).or_default() += 1;
            drop(state);
            // Who stopped waiting just now drops the place, which gives it on.
            let _ = waiting.send(Place {
                admission: self.clone(),
                account,
            });
        }
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
        }
        self.admission.give_places();
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn admission(running: usize, per_account: usize, waiting: usize) -> Arc<Admission> {
        Admission::new(&ChatConfig {
            max_running: running,
            max_running_per_account: per_account,
            max_waiting: waiting,
            queue_timeout: Duration::from_millis(50),
            retry_after: Duration::from_secs(1),
            least_output_tokens: 1,
            progress_tokens: 64,
            progress_every: Duration::from_millis(250),
        })
    }

    fn account(n: u128) -> AccountId {
        AccountId::from_uuid(Uuid::from_u128(n))
    }

    const APP: AppId = AppId::from_uuid(Uuid::from_u128(9));

    #[tokio::test]
    async fn a_place_is_given_on_when_it_comes_free() {
        let admission = admission(1, 1, 2);
        let place = admission.enter(account(1), APP).await.unwrap();
        let next = tokio::spawn({
            let admission = admission.clone();
            async move { admission.enter(account(2), APP).await.map(drop) }
        });
        tokio::task::yield_now().await;
        drop(place);
        assert_eq!(next.await.unwrap(), Ok(()));
        assert!(admission.enter(account(3), APP).await.is_ok());
    }

    #[tokio::test]
    async fn one_account_cannot_take_every_place() {
        let admission = admission(3, 1, 2);
        let _place = admission.enter(account(1), APP).await.unwrap();
        assert_eq!(admission.enter(account(1), APP).await.unwrap_err(), Busy);
        assert!(admission.enter(account(2), APP).await.is_ok());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let admission = admission(1, 1, 1);
        let _place = admission.enter(account(1), APP).await.unwrap();
        let waiting = admission.enter(account(2), APP);
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        let started = std::time::Instant::now();
        assert_eq!(admission.enter(account(3), APP).await.unwrap_err(), Busy);
        assert!(started.elapsed() < Duration::from_millis(40));
    }
}
