use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use prost::{Message, Name};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wanwu_clock::SharedClock;

use crate::{
    BrokerConfig, DeadLetters, Handler,
    apply::{Applier, Route},
    deliveries::Deliveries,
    handler::Decoding,
    inbox,
    prune::{BATCH, prune},
    retries, topology,
};

/// How often the dead letters are counted.
const MEASURE: Duration = Duration::from_secs(10);

/// Applies the events that a service consumes. Any number may run at once.
///
/// An event is applied exactly once, in no promised order: the record of it and its effect
/// commit together. Five tries, 1 s, 5 s, 30 s and 2 min apart, then it is a dead letter.
pub struct Consumers {
    applier: Applier,
    config: BrokerConfig,
    service: String,
}

impl Consumers {
    /// No handlers yet.
    #[must_use]
    pub fn new(pool: PgPool, config: BrokerConfig, service: &str, clock: SharedClock) -> Self {
        let applier = Applier {
            pool,
            clock,
            routes: HashMap::new(),
        };
        Self {
            applier,
            config,
            service: service.to_owned(),
        }
    }

    /// Hands every `E` to `handler`.
    ///
    /// # Panics
    /// When the contract does not name this service as a consumer of `E`: nothing would come.
    #[must_use]
    pub fn on<E, H>(mut self, handler: H) -> Self
    where
        E: Message + Name + Default + 'static,
        H: Handler<E>,
    {
        let event = E::full_name();
        let consumers = topology::consumers_of(&event).unwrap_or_default();
        assert!(
            consumers.contains(&&*self.service),
            "the contract does not name {} as a consumer of {event}",
            self.service,
        );
        let queue = topology::queue(&self.service, &event);
        let handler = Arc::new(Decoding::<E, H>::new(handler));
        let route = Route {
            queue: queue.clone(),
            event,
            handler,
        };
        self.applier.routes.insert(queue, Arc::new(route));
        self
    }

    /// The events that the contract gives this service and that no handler is there for.
    #[must_use]
    pub fn unhandled(&self) -> Vec<&'static str> {
        let queue = |event: &&str| topology::queue(&self.service, event);
        let mut events = topology::consumed_by(&self.service);
        events.retain(|event| !self.applier.routes.contains_key(&queue(event)));
        events
    }

    /// What operators see and replay; ask before [`Consumers::run`].
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(
            self.applier.pool.clone(),
            Arc::clone(&self.applier.clock),
            self.applier.routes.clone(),
        )
    }

    /// Consumes until `stop`, then finishes what is in hand. A broker or database that is away
    /// is waited for.
    #[must_use]
    pub fn run(self, stop: CancellationToken) -> BoxFuture<'static, ()> {
        // Boxed: it is compiled here and not in each service.
        self.consume(stop).boxed()
    }

    async fn consume(self, stop: CancellationToken) {
        for event in self.unhandled() {
            tracing::error!(event, "no handler for an event that the contract gives us");
        }
        let applier = Arc::new(self.applier);
        let measuring = measure(Arc::clone(&applier), self.config.keep, stop.clone());
        if applier.routes.is_empty() {
            return measuring.await;
        }
        let deliveries = Arc::new(Deliveries {
            applier: Arc::clone(&applier),
            config: self.config,
            service: self.service,
            stop: stop.clone(),
            in_hand: TaskTracker::new(),
        });
        tokio::join!(deliveries.run(), retries::run(applier, stop), measuring);
    }
}

/// Counts the dead letters and forgets what was applied long ago.
async fn measure(applier: Arc<Applier>, keep: Duration, stop: CancellationToken) {
    let pool = &applier.pool;
    let mut ticks = interval(MEASURE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let counted = sqlx::query_as("select count(*) from dead_letters")
            .fetch_one(pool)
            .await;
        if let Ok((dead,)) = counted {
            let dead: i64 = dead;
            metrics::gauge!("wanwu_dead_letters").set(dead as f64);
        }
        let before = applier.clock.now() - keep;
        prune("inbox", || inbox::prune(pool, before, BATCH)).await;
    }
}
