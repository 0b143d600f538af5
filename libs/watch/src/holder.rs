use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use metrics::counter;
use parking_lot::Mutex;
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Code;
use tracing::Instrument;

use crate::{
    ASK_TIMEOUT, FRESH_FOR, Item, Source, Subscription,
    flights::{Answer, Flights},
    shelf::Shelf,
};

/// Holds the values that were asked for, current while the watch lives. Clones are the same
/// holder; one of them must [`run`](Self::run).
pub struct Holder<S: Source> {
    inner: Arc<Inner<S>>,
}

struct Inner<S: Source> {
    source: S,
    state: Mutex<State<S::Item>>,
    events: broadcast::Sender<HolderEvent<S::Item>>,
    asks: TaskTracker,
}

struct State<T> {
    shelf: Shelf<T>,
    flights: Flights<T>,
    heartbeat: Option<Instant>,
}

/// What a holder learned from its watch, for those that compose other values from it.
#[derive(Clone, Debug)]
pub enum HolderEvent<T> {
    /// A value changed, held or not.
    Changed(Arc<T>),
    /// Changes may have been missed: everything that was composed is in doubt.
    Cleared,
}

/// The value could not be established in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value could not be established in time")]
pub struct Unknown;

const EVENTS: usize = 4096;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_millis(500);
/// A stream that is silent for so long is taken for dead and opened again.
const SILENCE: Duration = Duration::from_secs(2);

impl<S: Source> Clone for Holder<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<S: Source> Holder<S> {
    /// A holder of at most `capacity` values.
    #[must_use]
    pub fn new(source: S, capacity: usize) -> Self {
        let state = State {
            shelf: Shelf::new(capacity),
            flights: Flights::new(),
            heartbeat: None,
        };
        let inner = Inner {
            source,
            state: Mutex::new(state),
            events: broadcast::Sender::new(EVENTS),
            asks: TaskTracker::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The value, if it is held and current.
    #[must_use]
    pub fn fresh(&self, key: &str) -> Option<Arc<S::Item>> {
        let mut state = self.inner.state.lock();
        if state.is_fresh() {
            state.shelf.get(key)
        } else {
            None
        }
    }

    /// The value: the held one while it is current, else the owner's answer, awaited for at most
    /// 200 ms, twice. `None`: the owner knows no such key.
    pub async fn get(&self, key: &str) -> Result<Option<Arc<S::Item>>, Unknown> {
        match self.fresh(key) {
            Some(value) => Ok(Some(value)),
            None => self.ask(key).await,
        }
    }

    /// The owner's answer, also where a value is held. Questions for one key at the same time
    /// are one.
    pub async fn ask(&self, key: &str) -> Result<Option<Arc<S::Item>>, Unknown> {
        let (mut answer, first) = self.inner.state.lock().flights.join(key);
        if first {
            // The question lives on when its first asker gives up: others wait for it.
            let (inner, key) = (Arc::clone(&self.inner), key.to_owned());
            let ask = async move { inner.answer(key).await };
            self.inner.asks.spawn(ask.in_current_span());
        }
        match answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or(Err(Unknown)),
            Err(_) => Err(Unknown),
        }
    }

    /// The watch lives: what is held is current.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.inner.state.lock().is_fresh()
    }

    /// How many values are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.inner.state.lock().shelf.len()
    }

    /// What the watch tells from now on. A receiver that lags must count as [`Cleared`]
    /// (HolderEvent::Cleared).
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<HolderEvent<S::Item>> {
        self.inner.events.subscribe()
    }

    /// Keeps the watch open until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.inner.keep_watching()).await;
    }
}

impl<T: Item> State<T> {
    fn is_fresh(&self) -> bool {
        self.heartbeat
            .is_some_and(|heartbeat| heartbeat.elapsed() < FRESH_FOR)
    }
}

impl<S: Source> Inner<S> {
    async fn keep_watching(&self) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let opened = tokio::time::timeout(SILENCE, self.source.watch()).await;
            if let Ok(Ok(stream)) = opened {
                self.clear();
                if self.follow(stream).await {
                    backoff = FIRST_BACKOFF;
                }
                self.state.lock().heartbeat = None;
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    /// Follows a stream to its end; whether it told anything.
    async fn follow(&self, mut stream: Subscription<S::Item>) -> bool {
        let mut told = false;
        while let Ok(Some(Ok(item))) = tokio::time::timeout(SILENCE, stream.next()).await {
            told = true;
            match item {
                None => self.state.lock().heartbeat = Some(Instant::now()),
                Some(item) if item.key().is_empty() => self.clear(),
                Some(item) => self.take(Arc::new(item)),
            }
        }
        told
    }

    /// Changes may have been missed: nothing held is current.
    fn clear(&self) {
        let mut state = self.state.lock();
        state.shelf.clear();
        state.flights.outdate();
        // Told under the lock, so that events keep the order of what they tell.
        let _ = self.events.send(HolderEvent::Cleared);
    }

    fn take(&self, value: Arc<S::Item>) {
        let mut state = self.state.lock();
        state.shelf.update(&value);
        state.flights.tell(&value);
        let _ = self.events.send(HolderEvent::Changed(value));
    }

    async fn answer(&self, key: String) {
        let mut asked = tokio::time::timeout(ASK_TIMEOUT, self.source.ask(&key)).await;
        // An answer is as old as its question at most: a second question costs no freshness, and spares
        // a caller the refusal where the source was busy for a moment.
        if asked.is_err() {
            asked = tokio::time::timeout(ASK_TIMEOUT, self.source.ask(&key)).await;
        }
        let mut state = self.state.lock();
        let Some(landed) = state.flights.land(&key) else {
            return;
        };
        let answer = match asked {
            Ok(Ok(value)) => Ok(Some(Arc::new(value))),
            Ok(Err(status)) if status.code() == Code::NotFound => Ok(None),
            Ok(Err(_)) | Err(_) => {
                counter!("wanwu_watch_unanswered_total").increment(1);
                Err(Unknown)
            }
        };
        let answer = match (answer, landed.told) {
            (Ok(Some(value)), Some(told)) if told.version() > value.version() => Ok(Some(told)),
            // It came to be while the question was under way.
            (Ok(None), Some(told)) => Ok(Some(told)),
            (answer, _) => answer,
        };
        let answer = match answer {
            // Kept also while the watch is silent: a version that it tells later still wins, and
            // before the watch counts again after a break, everything is cleared.
            Ok(Some(value)) if !landed.outdated => Ok(Some(state.shelf.put(value))),
            answer => answer,
        };
        drop(state);
        settle(&landed.answer, answer);
    }
}

fn settle<T>(sender: &watch::Sender<Answer<T>>, answer: Result<Option<Arc<T>>, Unknown>) {
    sender.send_replace(Some(answer));
}
