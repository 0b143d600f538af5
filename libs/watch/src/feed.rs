use std::sync::Arc;

use futures::{Stream, stream::BoxStream};
use parking_lot::Mutex;
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use wanwu_proto::operations::v1::ErrorReason;

use crate::{HEARTBEAT, Item, SOURCE_FRESH_FOR};

/// What subscribers get: changes, and `None` for a heartbeat.
pub type Subscription<T> = BoxStream<'static, Result<Option<T>, Status>>;

/// Tells every change of the values that this service owns, and that it still would. Clones are
/// the same feed.
pub struct Feed<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    changes: broadcast::Sender<T>,
    fresh: Mutex<Fresh>,
    generation: watch::Sender<u64>,
    stop: CancellationToken,
}

/// Until when the feed's own source is known to be current.
enum Fresh {
    Until(Instant),
    Ask(Box<dyn Fn() -> bool + Send>),
}

/// How many changes a subscriber may be behind; a slower one is cut off and begins anew.
const CAPACITY: usize = 4096;

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<T: Item> Feed<T> {
    /// A feed that tells nothing until its source is [`confirm`](Self::confirm)ed. Its streams end
    /// at `stop`.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self::with(Fresh::Until(Instant::now()), stop)
    }

    /// A feed of values that are composed from others: its heartbeats come only while `is_fresh`
    /// says so, [`Holder::is_fresh`](crate::Holder::is_fresh) of all that it is made from.
    #[must_use]
    pub fn composed(is_fresh: impl Fn() -> bool + Send + 'static, stop: CancellationToken) -> Self {
        Self::with(Fresh::Ask(Box::new(is_fresh)), stop)
    }

    fn with(fresh: Fresh, stop: CancellationToken) -> Self {
        let inner = Inner {
            changes: broadcast::Sender::new(CAPACITY),
            fresh: Mutex::new(fresh),
            generation: watch::Sender::new(0),
            stop,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Tells a change. Telling one twice does no harm: the version says that it is old.
    pub fn publish(&self, item: T) {
        // Nobody listening is no failure.
        let _ = self.inner.changes.send(item);
    }

    /// The source was read completely at `instant`.
    pub fn confirm(&self, instant: Instant) {
        let mut fresh = self.inner.fresh.lock();
        if let Fresh::Until(until) = &mut *fresh {
            *until = (*until).max(instant + SOURCE_FRESH_FOR);
        }
    }

    /// Ends every stream: changes may have been missed, so holders must begin anew.
    pub fn reset(&self) {
        self.inner
            .generation
            .send_modify(|generation| *generation += 1);
    }

    /// Everything from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription<T> {
        // Subscribed here, not at the first poll: nothing after this line is missed.
        let changes = self.inner.changes.subscribe();
        let generation = self.inner.generation.subscribe();
        Box::pin(tell(Arc::clone(&self.inner), changes, generation))
    }
}

impl<T> Inner<T> {
    fn is_fresh(&self) -> bool {
        match &*self.fresh.lock() {
            Fresh::Until(until) => Instant::now() < *until,
            Fresh::Ask(is_fresh) => is_fresh(),
        }
    }
}

fn tell<T: Item>(
    feed: Arc<Inner<T>>,
    mut changes: broadcast::Receiver<T>,
    mut generation: watch::Receiver<u64>,
) -> impl Stream<Item = Result<Option<T>, Status>> {
    async_stream::stream! {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let item = tokio::select! {
                // A heartbeat vouches for what was told before it, so changes go first.
                biased;
                () = feed.stop.cancelled() => Err("the service is stopping"),
                _ = generation.changed() => Err("changes may have been missed"),
                change = changes.recv() => match change {
                    Ok(item) => Ok(Some(item)),
                    Err(_) => Err("the subscriber is too slow"),
                },
                _ = heartbeat.tick() => {
                    if !feed.is_fresh() || !changes.is_empty() {
                        continue;
                    }
                    Ok(None)
                }
            };
            match item {
                Ok(item) => yield Ok(item),
                Err(why) => {
                    yield Err(wanwu_grpc::platform_status(
                        Code::Unavailable,
                        ErrorReason::Unavailable,
                        why,
                    ));
                    return;
                }
            }
        }
    }
}
