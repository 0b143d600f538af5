//! Takes events from the broker. On any error the whole connection is thrown away and everything
//! is built anew: the client's own recovery is not used.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, future};
use lapin::{
    Channel, Connection, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    BrokerConfig,
    apply::{Applier, Route},
    broker,
    failure::{Backoff, BrokerError, chain},
    message::Incoming,
};

/// How long events in hand may take when we stop.
const DRAIN: Duration = Duration::from_secs(10);
/// So many take from a queue whose events are applied many at once.
const TOGETHER: usize = 2;
/// How long the first event of a batch waits for others: a batch costs its statements whether it is
/// one event or many.
const COMPANY: Duration = Duration::from_millis(20);
/// How long to wait for the client to send an acknowledgement.
const ACKNOWLEDGE: Duration = Duration::from_secs(1);

/// Takes the events of one service.
pub(crate) struct Deliveries {
    pub(crate) applier: Arc<Applier>,
    pub(crate) config: BrokerConfig,
    pub(crate) service: String,
    pub(crate) stop: CancellationToken,
    /// Events in hand, of this connection and of earlier ones.
    pub(crate) in_hand: TaskTracker,
}

/// A queue that we take from.
struct Subscription {
    /// Lives as long as we take from it.
    channel: Channel,
    consumer: Consumer,
    route: Arc<Route>,
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
        // They outlive the connection: closing them while it closes confuses the client.
        let mut subscriptions = Vec::new();
        let result = self
            .consume_on(&connection, &mut subscriptions, backoff)
            .await;
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
        subscriptions: &mut Vec<Subscription>,
        backoff: &mut Backoff,
    ) -> Result<(), BrokerError> {
        for route in self.applier.routes.values() {
            subscriptions.push(self.subscribe(connection, Arc::clone(route)).await?);
        }
        backoff.reset();
        let channels: Vec<_> = subscriptions
            .iter()
            .map(|taken| taken.channel.clone())
            .collect();
        let closing = channels
            .iter()
            .map(|channel| Box::pin(broker::closed(channel)));
        let taking = subscriptions
            .iter_mut()
            .map(|subscription| Box::pin(self.take(subscription)));
        tokio::select! {
            // The first that ends ends the others.
            (ended, ..) = future::select_all(taking) => ended,
            // The client does not always tell those who wait for an event.
            _ = future::select_all(closing) => Err(BrokerError::Ended(self.service.clone())),
        }
    }

    async fn subscribe(
        &self,
        connection: &Connection,
        route: Arc<Route>,
    ) -> Result<Subscription, BrokerError> {
        let channel = broker::channel(connection).await?;
        broker::declare(&channel, &self.config, &route.queue).await?;
        // The next events are here when a worker is free.
        let (workers, batch) = self.extent(&route);
        let waiting = if batch > 1 { 1 } else { workers };
        let prefetch = u16::try_from((workers + waiting) * batch).unwrap_or(u16::MAX);
        broker::within(channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let queue = format!("{}{}", self.config.queue_prefix, route.queue);
        let consumer = broker::within(channel.basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        ));
        let consumer = consumer.await?;
        Ok(Subscription {
            channel,
            consumer,
            route,
        })
    }

    /// How many take from a queue at the same time, and how many events each takes at once. Those
    /// that take many keep each other waiting more than they help.
    fn extent(&self, route: &Route) -> (usize, usize) {
        let (workers, batch) = (usize::from(self.config.workers), route.handler.batch());
        (
            workers.min(if batch > 1 { TOGETHER } else { workers }),
            batch,
        )
    }

    /// Takes from one queue as soon as a worker is free: what is there and, where events are applied
    /// many at once, what comes in the next moment, up to a batch.
    async fn take(self: &Arc<Self>, subscription: &mut Subscription) -> Result<(), BrokerError> {
        let Subscription {
            consumer, route, ..
        } = subscription;
        let (workers, batch) = self.extent(route);
        let workers = Arc::new(Semaphore::new(workers));
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
            let mut taken = vec![delivery.ok_or_else(ended)??];
            let until = Instant::now() + COMPANY;
            while taken.len() < batch
                && let Ok(Some(Ok(delivery))) = timeout_at(until, consumer.next()).await
            {
                taken.push(delivery);
            }
            let (this, route) = (Arc::clone(self), Arc::clone(route));
            // A task of its own: an event in hand is finished, whatever becomes of the connection.
            self.in_hand.spawn(async move {
                this.settle(&route, taken).await;
                drop(worker);
            });
        }
    }

    async fn settle(&self, route: &Route, mut taken: Vec<Delivery>) {
        let read = |delivery| Incoming::read(delivery, &route.event);
        let events: Vec<_> = taken.iter_mut().map(read).collect();
        let settled = self.applier.settle_all(route, &events, &self.stop).await;
        // Not acknowledged, for whatever reason: it comes again and the inbox knows it. On a
        // connection that broke the client may never answer.
        let acknowledged = taken[..settled]
            .iter()
            .map(|delivery| delivery.ack(BasicAckOptions::default()));
        let acknowledged = timeout(ACKNOWLEDGE, future::join_all(acknowledged)).await;
        wanwu_crash::point("consumer.acknowledged");
        let all = |answers: Vec<_>| answers.into_iter().all(|answer| matches!(answer, Ok(true)));
        if !acknowledged.is_ok_and(all) {
            tracing::debug!(settled, "not every event could be acknowledged");
        }
    }
}
