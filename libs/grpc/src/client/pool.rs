use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use http::uri::Authority;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    affinity::{Affinity, Candidate},
    endpoint::Endpoint,
    resolve,
};
use crate::{PeerAddress, Tls};

/// The replicas of a service.
pub(super) struct Pool {
    service: Arc<str>,
    /// The service as addresses name it; none: no address can.
    authority: Option<Authority>,
    places: Mutex<HashMap<String, Arc<Endpoint>>>,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    next: AtomicUsize,
    changed: watch::Sender<()>,
    tls: Tls,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_all: DropGuard,
}

impl Pool {
    pub(super) fn start(service: &str, address: PeerAddress, tls: &Tls) -> Arc<Self> {
        let stop = CancellationToken::new();
        let pool = Arc::new(Self {
            service: service.into(),
            authority: Authority::try_from(service).ok(),
            places: Mutex::default(),
            endpoints: ArcSwap::default(),
            next: AtomicUsize::new(0),
            changed: watch::Sender::new(()),
            tls: tls.clone(),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
            _stop_all: stop.clone().drop_guard(),
        });
        match address {
            PeerAddress::List(places) => pool.replace(places),
            PeerAddress::Dns(name) => {
                let follow = resolve::follow(name, Arc::downgrade(&pool));
                pool.tasks
                    .spawn(async move { stop.run_until_cancelled(follow).await });
            }
        }
        pool
    }

    pub(super) fn service(&self) -> &str {
        &self.service
    }

    pub(super) const fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.endpoints
            .load()
            .iter()
            .any(|endpoint| endpoint.is_connected())
    }

    pub(super) async fn connected(&self) {
        let mut changed = self.changed.subscribe();
        while !self.is_connected() {
            // The sender lives as long as the pool.
            let _ = changed.changed().await;
        }
    }

    /// The connected replica that is best for calls of this kind; without a kind the one with the
    /// fewest calls under way, ties going round.
    pub(super) fn pick(&self, affinity: Option<Affinity>) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints.load();
        if let [only] = endpoints.as_slice() {
            return only.is_connected().then(|| Arc::clone(only));
        }
        if let Some(affinity) = affinity {
            return choose(affinity, &endpoints);
        }
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let round =
            (0..endpoints.len()).map(|i| &endpoints[(start.wrapping_add(i)) % endpoints.len()]);
        round
            .filter(|endpoint| endpoint.is_connected())
            .min_by_key(|endpoint| endpoint.load())
            .map(Arc::clone)
    }

    /// These are the replicas from now on; those that stay keep their connections.
    pub(super) fn replace(&self, places: Vec<String>) {
        let mut known = self.places.lock();
        known.retain(|place, endpoint| {
            let stays = places.contains(place);
            if !stays {
                endpoint.stop();
            }
            stays
        });
        for place in places {
            known
                .entry(place.clone())
                .or_insert_with(|| self.endpoint(place));
        }
        self.endpoints
            .store(Arc::new(known.values().cloned().collect()));
    }

    /// Tells when a connection is made.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn endpoint(&self, place: String) -> Arc<Endpoint> {
        Endpoint::start(
            Arc::clone(&self.service),
            place,
            self.tls.clone(),
            self.changed.clone(),
            &self.tasks,
            self.stop.child_token(),
        )
    }
}

/// The connected one that these calls go to, which counts it.
fn choose(affinity: Affinity, endpoints: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
    let connected = endpoints.iter().filter(|endpoint| endpoint.is_connected());
    let (connected, candidates): (Vec<_>, Vec<Candidate>) = connected
        .map(|endpoint| (endpoint, endpoint.candidate()))
        .unzip();
    let chosen = connected[affinity.choose(&candidates)?];
    chosen.count_alike();
    Some(Arc::clone(chosen))
}
