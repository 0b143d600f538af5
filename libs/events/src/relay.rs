use std::{collections::HashSet, time::Duration};

use futures::{
    FutureExt,
    future::{self, BoxFuture},
};
use lapin::Channel;
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    BrokerConfig,
    broker::{self, Sent},
    failure::{Backoff, BrokerError, chain},
    message::properties,
    outbox,
    prune::{BATCH as PRUNED, prune},
    publish::WAKE,
    topology,
    trace::TraceContext,
};

/// Rows in one round, all in flight at once.
const BATCH: i64 = 256;
/// How often the outbox is looked at when nothing is heard.
const POLL: Duration = Duration::from_millis(50);
/// A publisher wakes us before it commits: this much later it has, and so have those that come close
/// behind it. A round costs two statements whether it sends one row or many.
const COMPANY: Duration = Duration::from_millis(20);
/// How long a row rests that no queue took.
const REST: Duration = Duration::from_secs(1);
/// How often the backlog is measured.
const MEASURE: Duration = Duration::from_secs(5);

/// Sends the outbox of one service to the broker. Any number may run at once.
///
/// It decides by the status of each row, never by a position in the table, and holds no
/// transaction while the broker works: a row is leased, sent to the queue of each consumer, and
/// marked when every queue has it. What was sent but not marked is sent again; the inbox of the
/// consumer knows it.
#[derive(Debug)]
pub struct Relay {
    pool: PgPool,
    config: BrokerConfig,
    service: String,
}

impl Relay {
    /// The relay of `service`.
    #[must_use]
    pub fn new(pool: PgPool, config: BrokerConfig, service: &str) -> Self {
        Self {
            pool,
            config,
            service: service.to_owned(),
        }
    }

    /// Sends until `stop`. A broker or database that is away is waited for.
    #[must_use]
    pub fn run(self, stop: CancellationToken) -> BoxFuture<'static, ()> {
        // Boxed: it is compiled here and not in each service.
        async move {
            tokio::join!(self.keep_sending(&stop), self.measure(&stop));
        }
        .boxed()
    }

    async fn keep_sending(&self, stop: &CancellationToken) {
        let mut backoff = Backoff::new();
        while !stop.is_cancelled() {
            let Err(error) = self.session(stop, &mut backoff).await else {
                return;
            };
            metrics::counter!("wanwu_relay_reconnects_total").increment(1);
            if backoff.failures() < 3 {
                tracing::warn!(error = chain(&error), "the relay connects again");
            } else {
                tracing::error!(error = chain(&error), "the relay cannot reach the broker");
            }
            let _ = stop.run_until_cancelled(sleep(backoff.next())).await;
        }
    }

    /// One connection's life.
    async fn session(
        &self,
        stop: &CancellationToken,
        backoff: &mut Backoff,
    ) -> Result<(), BrokerError> {
        let name = format!("{} relay", self.service);
        let connection = broker::connect(&self.config, &name).await?;
        // It outlives the connection: closing it while that closes confuses the client.
        let channel = broker::confirming(&connection).await;
        let result = match &channel {
            Ok(channel) => self.send_on(channel, stop, backoff).await,
            Err(_) => Ok(()),
        };
        broker::close(&connection).await;
        channel.and(result)
    }

    async fn send_on(
        &self,
        channel: &Channel,
        stop: &CancellationToken,
        backoff: &mut Backoff,
    ) -> Result<(), BrokerError> {
        let mut declared = HashSet::new();
        backoff.reset();
        let mut database = Backoff::new();
        while !stop.is_cancelled() {
            let pause = match outbox::lease(&self.pool, BATCH).await {
                Ok(rows) if rows.is_empty() => {
                    database.reset();
                    if !channel.status().connected() {
                        return Err(BrokerError::Ended(self.service.clone()));
                    }
                    POLL
                }
                Ok(rows) => {
                    database.reset();
                    let is_all = (rows.len() as i64) < BATCH;
                    self.send(channel, &mut declared, rows).await?;
                    if is_all { POLL } else { continue }
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the relay cannot read the outbox");
                    database.next()
                }
            };
            idle(pause, stop).await;
        }
        Ok(())
    }

    /// Sends leased rows and writes down what became of them. An error means that the
    /// connection is of no use any more.
    async fn send(
        &self,
        channel: &Channel,
        declared: &mut HashSet<String>,
        rows: Vec<outbox::Row>,
    ) -> Result<(), BrokerError> {
        wanwu_crash::point("relay.leased");
        let ids: Vec<Uuid> = rows.iter().map(|row| row.event_id).collect();
        if let Err(error) = self.declare(channel, declared, &rows).await {
            self.give_back(&ids, Duration::ZERO).await;
            return Err(error);
        }
        let sending = future::join_all(rows.iter().map(|row| self.send_row(channel, row)));
        let results = tokio::select! {
            results = sending => results,
            // The client does not always tell those who wait for a confirm.
            () = broker::closed(channel) => {
                self.give_back(&ids, Duration::ZERO).await;
                return Err(BrokerError::Ended(self.service.clone()));
            }
        };
        wanwu_crash::point("relay.confirmed");
        let (mut published, mut refused, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        let mut broken = None;
        for (row, result) in rows.iter().zip(results) {
            match result {
                Ok(Sent::Accepted) => published.push(row.event_id),
                Ok(sent) => {
                    tracing::warn!(event.id = %row.event_id, attempts = row.attempts, ?sent,
                        "no queue took the event");
                    // The queue may have been deleted: make it again before the next try.
                    declared.clear();
                    refused.push(row.event_id);
                }
                Err(error) => {
                    unknown.push(row.event_id);
                    broken = Some(error);
                }
            }
        }
        self.mark(&published).await;
        wanwu_crash::point("relay.marked");
        self.give_back(&refused, REST).await;
        self.give_back(&unknown, Duration::ZERO).await;
        broken.map_or(Ok(()), Err)
    }

    /// Makes the queues of events that came for the first time on this channel.
    async fn declare(
        &self,
        channel: &Channel,
        declared: &mut HashSet<String>,
        rows: &[outbox::Row],
    ) -> Result<(), BrokerError> {
        for row in rows {
            if declared.contains(&row.name) {
                continue;
            }
            for queue in queues(&row.name) {
                broker::declare(channel, &self.config, &queue).await?;
            }
            declared.insert(row.name.clone());
        }
        Ok(())
    }

    /// Sends one event to each of its consumers; the least of the results counts.
    async fn send_row(&self, channel: &Channel, row: &outbox::Row) -> Result<Sent, BrokerError> {
        let trace = TraceContext::new(row.traceparent.clone(), row.tracestate.clone());
        for queue in queues(&row.name) {
            let envelope = properties(row.event_id, &row.name, row.created_at, &trace);
            let sent = broker::send(channel, &self.config, &queue, envelope, &row.payload).await?;
            if sent != Sent::Accepted {
                return Ok(sent);
            }
        }
        Ok(Sent::Accepted)
    }

    async fn mark(&self, published: &[Uuid]) {
        if published.is_empty() {
            return;
        }
        metrics::counter!("wanwu_events_published_total").increment(published.len() as u64);
        // When this fails the lease lapses and they are sent again.
        if let Err(error) = outbox::mark_published(&self.pool, published).await {
            tracing::warn!(error = chain(&error), "the relay cannot mark what it sent");
        }
    }

    async fn give_back(&self, ids: &[Uuid], pause: Duration) {
        if ids.is_empty() {
            return;
        }
        // When this fails the lease lapses by itself.
        if let Err(error) = outbox::give_back(&self.pool, ids, pause).await {
            tracing::warn!(error = chain(&error), "the relay cannot give rows back");
        }
    }

    /// Measures the backlog and forgets what was published long ago.
    async fn measure(&self, stop: &CancellationToken) {
        let mut ticks = interval(MEASURE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Ok(backlog) = outbox::backlog(&self.pool).await {
                metrics::gauge!("wanwu_outbox_depth").set(backlog.depth as f64);
                metrics::gauge!("wanwu_outbox_oldest_seconds").set(backlog.oldest_seconds);
            }
            let pool = &self.pool;
            prune("outbox", || outbox::prune(pool, self.config.keep, PRUNED)).await;
        }
    }
}

/// The queues of an event. One that the contract no longer knows has none, and is done.
fn queues(event: &str) -> impl Iterator<Item = String> {
    let consumers = topology::consumers_of(event).unwrap_or_default();
    consumers
        .iter()
        .map(move |consumer| topology::queue(consumer, event))
}

async fn idle(pause: Duration, stop: &CancellationToken) {
    let woken = async {
        if timeout(pause, WAKE.notified()).await.is_ok() {
            sleep(COMPANY).await;
        }
    };
    let _ = stop.run_until_cancelled(woken).await;
}
