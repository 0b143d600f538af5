use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::client::conn::http2::SendRequest;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;

use super::affinity::{Candidate, Recent, stable_hash};
use crate::{Tls, connect::connect};

/// One replica: at most one connection in use, made again whenever it is lost.
pub(super) struct Endpoint {
    sender: Mutex<Option<SendRequest<Body>>>,
    in_flight: AtomicUsize,
    /// A hash of its place.
    name: u64,
    /// When this endpoint began; times below are since then.
    began: Instant,
    alike: Mutex<Alike>,
    lost: Notify,
    stop: CancellationToken,
}

/// What is known of an endpoint to those that choose it by what calls are like.
#[derive(Default)]
struct Alike {
    recent: Recent,
    /// Its last connection was made.
    joined: Duration,
}

impl Alike {
    /// What it got before it went away is no measure of what it may have now: with it, a replica
    /// that comes back would wait until that is forgotten.
    fn joined(now: Duration) -> Self {
        Self {
            recent: Recent::default(),
            joined: now,
        }
    }

    fn candidate(&self, name: u64, now: Duration) -> Candidate {
        Candidate {
            name,
            recent: self.recent.at(now),
            joined: now.saturating_sub(self.joined),
        }
    }
}

/// Counts a call of an endpoint until it is dropped.
pub(super) struct InFlight(Arc<Endpoint>);

const FIRST_BACKOFF: Duration = Duration::from_millis(25);
const MAX_BACKOFF: Duration = Duration::from_millis(500);
/// How often an unused connection is asked whether the peer has said goodbye.
const CHECK: Duration = Duration::from_millis(200);

impl Endpoint {
    /// Connects to `place` and goes on doing so until the endpoint is stopped. `changed` is told
    /// whenever a connection stands.
    pub(super) fn start(
        service: Arc<str>,
        place: String,
        tls: Tls,
        changed: watch::Sender<()>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let endpoint = Arc::new(Self {
            sender: Mutex::new(None),
            in_flight: AtomicUsize::new(0),
            name: stable_hash(place.as_bytes()),
            began: Instant::now(),
            alike: Mutex::default(),
            lost: Notify::new(),
            stop: stop.clone(),
        });
        let keep = Arc::clone(&endpoint).keep_connected(service, place, tls, changed);
        tasks.spawn(async move { stop.run_until_cancelled(keep).await });
        endpoint
    }

    /// A way to send, if the connection stands.
    pub(super) fn sender(&self) -> Option<SendRequest<Body>> {
        self.standing().clone()
    }

    /// The connection stands.
    pub(super) fn is_connected(&self) -> bool {
        self.standing().is_some()
    }

    /// The way to send, none where the connection is closed.
    fn standing(&self) -> MutexGuard<'_, Option<SendRequest<Body>>> {
        let mut sender = self.sender.lock();
        if sender.as_ref().is_some_and(SendRequest::is_closed) {
            *sender = None;
            self.lost.notify_one();
        }
        sender
    }

    /// The connection took nothing any more: another one is made.
    pub(super) fn lose(&self) {
        *self.sender.lock() = None;
        self.lost.notify_one();
    }

    /// How many calls are under way.
    pub(super) fn load(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// What it is to calls that go where others like them went.
    pub(super) fn candidate(&self) -> Candidate {
        self.alike.lock().candidate(self.name, self.began.elapsed())
    }

    /// It gets one of those calls.
    pub(super) fn count_alike(&self) {
        self.alike.lock().recent.count(self.began.elapsed());
    }

    /// It can be reached, for the first time or after it could not.
    fn joins(&self) {
        *self.alike.lock() = Alike::joined(self.began.elapsed());
    }

    pub(super) fn count(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Makes no more connections. Calls that are under way end by themselves.
    pub(super) fn stop(&self) {
        self.stop.cancel();
        *self.sender.lock() = None;
    }

    async fn keep_connected(
        self: Arc<Self>,
        service: Arc<str>,
        place: String,
        tls: Tls,
        changed: watch::Sender<()>,
    ) {
        let mut backoff = FIRST_BACKOFF;
        let (mut told, mut anew) = (false, true);
        loop {
            match connect(&service, &place, &tls).await {
                Ok((sender, connection)) => {
                    tracing::debug!(peer = %service, "connected");
                    (backoff, told) = (FIRST_BACKOFF, false);
                    if std::mem::take(&mut anew) {
                        self.joins();
                    }
                    let (done, mut gone) = watch::channel(());
                    // The connection outlives its replacement: streams end on it in peace.
                    #[allow(clippy::disallowed_methods, reason = "it ends with its connection")]
                    tokio::spawn(async move {
                        let _ = connection.await;
                        drop(done);
                    });
                    *self.sender.lock() = Some(sender);
                    changed.send_replace(());
                    while self.is_connected() {
                        tokio::select! {
                            _ = gone.changed() => self.lose(),
                            () = self.lost.notified() => {}
                            () = tokio::time::sleep(CHECK) => {}
                        }
                    }
                }
                Err(error) => {
                    // It was away, and has forgotten what it knew.
                    anew = true;
                    if !told {
                        let error = &error as &dyn std::error::Error;
                        tracing::info!(peer = %service, error, "a peer cannot be reached");
                        told = true;
                    }
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::affinity::Affinity, *};

    /// Calls come every millisecond; answers how many of them each replica got.
    fn serve(replicas: &mut [Alike; 2], from: Duration, calls: u64) -> [u64; 2] {
        let mut got = [0, 0];
        for n in 0..calls {
            let now = from + Duration::from_millis(n);
            let candidates = [0, 1].map(|it| replicas[it].candidate(it as u64, now));
            let chosen = Affinity(n).choose(&candidates).unwrap();
            replicas[chosen].recent.count(now);
            got[chosen] += 1;
        }
        got
    }

    #[test]
    fn a_replica_that_comes_back_is_used_within_a_second() {
        let mut replicas = [Alike::default(), Alike::default()];
        let minute = Duration::from_secs(60);
        let before = serve(&mut replicas, Duration::ZERO, 60_000);
        assert!(before.iter().all(|got| *got > 20_000), "{before:?}");
        replicas[1] = Alike::joined(minute);
        let after = serve(&mut replicas, minute, 1_000);
        assert!((1..=50).contains(&after[1]), "little by little: {after:?}");
        // From then on it has its half, and never all.
        for minutes in 1..5 {
            let begin = minute * minutes + Duration::from_secs(30);
            let later = serve(&mut replicas, begin, 60_000);
            assert!(
                later.iter().all(|got| *got > 25_000),
                "{minutes}: {later:?}"
            );
        }
    }
}
