//! Takes events from the broker. On any error the whole connection is thrown away and everything
//! is built anew: the client's own recovery is not used.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use lapin::{
    Channel, Connection, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    BrokerConfig,
    apply::{Applier, Origin, Route},
    broker,
    failure::{Backoff, BrokerError, chain},
    message::Incoming,
};

/// How long events in hand may take when we stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Takes the events of one service.
pub(crate) struct Deliveries {
    pub(crate) applier: Arc<Applier>,
    pub(crate) config: BrokerConfig,
    pub(crate) service: String,
    pub(crate) stop: CancellationToken,
    /// Events in hand, of this connection and of earlier ones.
    pub(crate) in_hand: TaskTracker,
}

impl Deliveries {
    pub(crate) async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::new();
        while !self.stop.is_cancelled() {
            let Err(error) = self.session(&mut backoff).await else {
                break;
            };
            metrics::counter!("wanwu_consumer_reconnects_total").increment(1);
            if backoff.failures() < 3 {
                tracing::warn!(error = chain(&error), "the consumers connect again");
            } else {
                tracing::error!(
                    error = chain(&error),
                    "the consumers cannot reach the broker"
                );
            }
            let _ = self.stop.run_until_cancelled(sleep(backoff.next())).await;
        }
    }

    /// One connection's life. Ends well only when we stop.
    async fn session(self: &Arc<Self>, backoff: &mut Backoff) -> Result<(), BrokerError> {
        let name = format!("{} consumers", self.service);
        let connection = broker::connect(&self.config, &name).await?;
        let result = self.consume_on(&connection, backoff).await;
        if result.is_ok() {
            self.in_hand.close();
            let _ = timeout(DRAIN, self.in_hand.wait()).await;
        }
        broker::close(&connection).await;
        result
    }

    async fn consume_on(
        self: &Arc<Self>,
        connection: &Connection,
        backoff: &mut Backoff,
    ) -> Result<(), BrokerError> {
        let mut queues = JoinSet::new();
        for route in self.applier.routes.values() {
            let (channel, consumer) = self.subscribe(connection, route).await?;
            let taking = Arc::clone(self).take(channel, consumer, Arc::clone(route));
            queues.spawn(taking);
        }
        backoff.reset();
        let mut result = Ok(());
        // The first that ends ends the others: dropping the set stops them.
        if let Some(ended) = queues.join_next().await {
            result = ended.unwrap_or_else(|_| Err(BrokerError::Ended(self.service.clone())));
        }
        result
    }

    async fn subscribe(
        &self,
        connection: &Connection,
        route: &Route,
    ) -> Result<(Channel, Consumer), BrokerError> {
        let channel = broker::channel(connection).await?;
        broker::declare(&channel, &self.config, &route.queue).await?;
        // Twice the workers: the next event is here when a worker is free.
        let prefetch = self.config.workers.saturating_mul(2);
        broker::within(channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let queue = format!("{}{}", self.config.queue_prefix, route.queue);
        let consumer = broker::within(channel.basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        ));
        let consumer = consumer.await?;
        Ok((channel, consumer))
    }

    /// Takes from one queue, at most `workers` events at the same time.
    async fn take(
        self: Arc<Self>,
        // Lives as long as we take from it.
        _channel: Channel,
        mut consumer: Consumer,
        route: Arc<Route>,
    ) -> Result<(), BrokerError> {
        let workers = Arc::new(Semaphore::new(usize::from(self.config.workers)));
        let ended = || BrokerError::Ended(route.queue.clone());
        loop {
            let next = async {
                let worker = Arc::clone(&workers).acquire_owned().await;
                let delivery = consumer.next().await;
                (worker, delivery)
            };
            let Some((worker, delivery)) = self.stop.run_until_cancelled(next).await else {
                return Ok(());
            };
            let delivery = delivery.ok_or_else(ended)??;
            let (this, route) = (Arc::clone(&self), Arc::clone(&route));
            // A task of its own: an event in hand is finished, whatever becomes of the connection.
            self.in_hand.spawn(async move {
                this.settle(&route, delivery).await;
                drop(worker);
            });
        }
    }

    async fn settle(&self, route: &Route, mut delivery: Delivery) {
        let event = Incoming::read(&mut delivery, &route.event);
        if !self
            .applier
            .settle(route, &event, Origin::Delivery, &self.stop)
            .await
        {
            return;
        }
        // Not acknowledged, for whatever reason: it comes again and the inbox knows it.
        if !matches!(delivery.ack(BasicAckOptions::default()).await, Ok(true)) {
            tracing::debug!(event.id = %event.event_id, "the event could not be acknowledged");
        }
    }
}
