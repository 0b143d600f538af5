//! What runs as long as the process.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use wanwu_clock::SystemClock;
use wanwu_postgres::requests;
use wanwu_proto::{privacy::v1::PrivacyGate, verification::v1::RealNameGate};
use wanwu_watch::{HolderEvent, poll_changes};

use crate::{
    app::App,
    error::Error,
    store::{codes, grants, notifications, operators, sessions, standings},
};

/// How often what is over is removed.
const SWEEP: Duration = Duration::from_secs(600);
/// How often notifications that are due are looked for.
const NOTIFY: Duration = Duration::from_millis(500);
/// Requests that are forgotten in one statement.
const SWEPT_REQUESTS: i64 = 10_000;

type GateEvents = (
    Receiver<HolderEvent<PrivacyGate>>,
    Receiver<HolderEvent<RealNameGate>>,
);

/// A task that runs until it is stopped.
pub type Task = (&'static str, BoxFuture<'static, ()>);

impl App {
    /// What must run for the service to do what it says.
    #[must_use]
    pub fn tasks(self: &Arc<Self>, stop: &CancellationToken) -> Vec<Task> {
        let (privacy, real_name) = (self.privacy_gates.clone(), self.real_name_gates.clone());
        let app = || Arc::clone(self);
        // Before the watches open: what they tell first is composed too.
        let events = (self.privacy_gates.events(), self.real_name_gates.events());
        vec![
            ("privacy gates", privacy.run(stop.clone()).boxed()),
            ("real name gates", real_name.run(stop.clone()).boxed()),
            ("grants", app().poll_grants(stop.clone()).boxed()),
            ("standings", app().poll_standings(stop.clone()).boxed()),
            ("composing", app().compose(events, stop.clone()).boxed()),
            ("notifying", app().notify(stop.clone()).boxed()),
            ("sweeping", app().sweep(stop.clone()).boxed()),
        ]
    }

    async fn poll_grants(self: Arc<Self>, stop: CancellationToken) {
        let pool = self.pool.clone();
        let fetch = move |since| {
            let pool = pool.clone();
            async move { grants::changed_since(&pool, since).await }
        };
        // The times of changes are the database's: of a machine, as this clock's.
        poll_changes(self.grants_feed.clone(), Arc::new(SystemClock), stop, fetch).await;
    }

    async fn poll_standings(self: Arc<Self>, stop: CancellationToken) {
        let (pool, read) = (self.pool.clone(), Arc::clone(&self.standings_read));
        let fetch = move |since| {
            let (pool, read) = (pool.clone(), Arc::clone(&read));
            async move {
                let begun = Instant::now();
                let changed = standings::changed_since(&pool, since).await?;
                *read.lock() = Some(begun);
                Ok::<_, sqlx::Error>(changed)
            }
        };
        let feed = self.standings_feed.clone();
        poll_changes(feed, Arc::new(SystemClock), stop, fetch).await;
    }

    /// Writes every gate that is told into the standings at once.
    async fn compose(self: Arc<Self>, events: GateEvents, stop: CancellationToken) {
        let (mut privacy, mut real_name) = events;
        loop {
            let merged = tokio::select! {
                () = stop.cancelled() => return,
                event = privacy.recv() => match event {
                    Ok(HolderEvent::Changed(gate)) => match gate.account_id.parse() {
                        Ok(account_id) => self.merge_privacy(account_id, &gate).await,
                        Err(_) => continue,
                    },
                    Ok(HolderEvent::Cleared) | Err(_) => { self.standings_feed.reset(); continue }
                },
                event = real_name.recv() => match event {
                    Ok(HolderEvent::Changed(gate)) => match gate.account_id.parse() {
                        Ok(account_id) => self.merge_verification(account_id, &gate).await,
                        Err(_) => continue,
                    },
                    Ok(HolderEvent::Cleared) | Err(_) => { self.standings_feed.reset(); continue }
                },
            };
            if let Err(error) = merged {
                // Not written, so not told: holders must ask, and asking writes it.
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "a changed gate could not be written");
                self.standings_feed.reset();
            }
        }
    }

    /// Sends the notifications that are due.
    async fn notify(self: Arc<Self>, stop: CancellationToken) {
        loop {
            match self.send_due_notifications().await {
                Ok(0) => {}
                // There may be more.
                Ok(_) if !stop.is_cancelled() => continue,
                Ok(_) => return,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "notifications cannot be read");
                }
            }
            if stop.run_until_cancelled(sleep(NOTIFY)).await.is_none() {
                return;
            }
        }
    }

    async fn sweep(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(sleep(SWEEP)).await.is_some() {
            if let Err(error) = self.sweep_once().await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "what is over could not be removed");
            }
        }
    }

    /// Removes what nothing looks at any more.
    pub async fn sweep_once(&self) -> Result<(), Error> {
        let now = self.clock.now();
        codes::sweep(&self.pool, now).await?;
        grants::sweep(&self.pool, now).await?;
        sessions::sweep(&self.pool, now).await?;
        notifications::sweep(&self.pool, now).await?;
        operators::sweep_attempts(&self.pool, now).await?;
        let mut connection = self.pool.acquire().await?;
        requests::sweep(&mut connection, now, SWEPT_REQUESTS).await?;
        Ok(())
    }
}
