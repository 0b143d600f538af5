//! A service of the tests: it tells `UsageRecorded` and consumes it as `billing`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use sqlx::{PgConnection, PgPool};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wanwu_clock::TestClock;
use wanwu_events::{BrokerConfig, Consumers, Handler, HandlerError, Relay, SCHEMA, publish};
use wanwu_ids::Ids;
use wanwu_proto::inference::v1::UsageRecorded;
use wanwu_testkit::{TestBroker, test_clock, wait_for};

pub const QUEUE: &str = "billing.wanwu.inference.v1.usagerecorded";
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Writes one row for each event that it is given: twice applied is seen as two rows.
#[derive(Clone, Default)]
pub struct Credit {
    /// How often it was asked.
    pub asked: Arc<AtomicI64>,
    /// It fails so many times more.
    pub failures: Arc<AtomicI64>,
    /// How it fails.
    pub kind: Kind,
}

#[derive(Clone, Copy, Default)]
pub enum Kind {
    #[default]
    Retry,
    Reject,
    NotYet,
    Panic,
    /// It ignores the error of a statement.
    Hide,
}

pub struct Bench {
    pub pool: PgPool,
    pub broker: BrokerConfig,
    pub clock: TestClock,
    pub stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Credit {
    pub fn failing(times: i64, kind: Kind) -> Self {
        Self {
            failures: Arc::new(AtomicI64::new(times)),
            kind,
            ..Self::default()
        }
    }

    pub fn asked(&self) -> i64 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Handler<UsageRecorded> for Credit {
    async fn handle(
        &self,
        tx: &mut PgConnection,
        event: UsageRecorded,
    ) -> Result<(), HandlerError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        sqlx::query("insert into effects (call_id) values ($1)")
            .bind(&event.call_id)
            .execute(&mut *tx)
            .await?;
        if self.failures.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Ok(());
        }
        match self.kind {
            Kind::Retry => Err(HandlerError::retry("not today")),
            Kind::Reject => Err(HandlerError::reject("never")),
            Kind::NotYet => Err(HandlerError::NotYet(Duration::from_secs(60))),
            Kind::Panic => panic!("a handler that panics"),
            Kind::Hide => {
                let _ = sqlx::query("select 1 / 0").execute(tx).await;
                Ok(())
            }
        }
    }
}

impl Bench {
    pub async fn new(pool: PgPool) -> Self {
        crate::trace::recorder();
        sqlx::raw_sql(SCHEMA).execute(&pool).await.unwrap();
        sqlx::raw_sql("create table effects (call_id text not null)")
            .execute(&pool)
            .await
            .unwrap();
        // Beside the workers, the relay, the retries and the test itself need connections.
        let broker = BrokerConfig {
            workers: 2,
            ..TestBroker::new().config()
        };
        Self {
            pool,
            broker,
            clock: test_clock(),
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }

    pub fn relay(&mut self) {
        self.relay_by(self.broker.clone());
    }

    pub fn relay_by(&mut self, broker: BrokerConfig) {
        let relay = Relay::new(self.pool.clone(), broker, "inference-routing");
        self.tasks.spawn(relay.run(self.stop.clone()));
    }

    pub fn consumers(&self, credit: &Credit) -> Consumers {
        let clock = Arc::new(self.clock.clone());
        Consumers::new(self.pool.clone(), self.broker.clone(), "billing", clock)
            .on::<UsageRecorded, _>(credit.clone())
    }

    pub fn consume(&mut self, credit: &Credit) {
        let consumers = self.consumers(credit);
        self.tasks.spawn(consumers.run(self.stop.clone()));
    }

    pub fn consume_with<H: Handler<UsageRecorded>>(&mut self, handler: H) {
        let clock = Arc::new(self.clock.clone());
        let consumers = Consumers::new(self.pool.clone(), self.broker.clone(), "billing", clock)
            .on::<UsageRecorded, _>(handler);
        self.tasks.spawn(consumers.run(self.stop.clone()));
    }

    pub fn consume_by(&mut self, credit: &Credit, broker: BrokerConfig) {
        let clock = Arc::new(self.clock.clone());
        let consumers = Consumers::new(self.pool.clone(), broker, "billing", clock)
            .on::<UsageRecorded, _>(credit.clone());
        self.tasks.spawn(consumers.run(self.stop.clone()));
    }

    /// Tells `count` calls, `first`, `first + 1`, .., each in a transaction of its own.
    pub async fn tell(&self, first: u32, count: u32) {
        for call in first..first + count {
            let mut tx = self.pool.begin().await.unwrap();
            publish(&mut tx, &Ids::system(), &usage(call))
                .await
                .unwrap();
            tx.commit().await.unwrap();
        }
    }

    /// How often each call took effect: all rows, and how many different ones.
    pub async fn effects(&self) -> (i64, i64) {
        sqlx::query_as("select count(*), count(distinct call_id) from effects")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Counts rows of a query that begins with `select count(*)`.
    pub async fn count(&self, query: &'static str) -> i64 {
        let (count,): (i64,) = sqlx::query_as(query).fetch_one(&self.pool).await.unwrap();
        count
    }

    pub async fn pending(&self) -> i64 {
        self.count("select count(*) from outbox where published_at is null")
            .await
    }

    /// Waits until `count` calls took effect, then a little longer: each only once.
    pub async fn wait_for_effects(&self, count: i64) {
        wait_for("the effects", PATIENCE, || async {
            self.effects().await.1 >= count
        })
        .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(self.effects().await, (count, count));
    }

    /// Stops everything; it has a few seconds.
    pub async fn end(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(5), ended)
            .await
            .expect("everything stops");
    }
}

pub fn usage(call: u32) -> UsageRecorded {
    UsageRecorded {
        call_id: format!("call-{call}"),
        ..UsageRecorded::default()
    }
}

impl Bench {
    /// A bench on tables that an earlier one used.
    pub async fn new_again(pool: &PgPool) -> Self {
        let drop = "drop table if exists outbox, inbox, inbox_retries, dead_letters, effects";
        sqlx::raw_sql(drop).execute(pool).await.unwrap();
        Self::new(pool.clone()).await
    }
}
