//! Calls that are sent at their times, whatever became of those before: clients who do not wait.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::clients::{Seen, Visit, visit};
use crate::load::Target;

/// What became of one call.
#[derive(Clone, Debug)]
pub(crate) struct Shot {
    /// How it went.
    pub seen: Seen,
    /// When it was sent, since the first was to be.
    pub sent: Duration,
    /// Until its first token, or its end without one.
    pub first: Duration,
    /// How much of that the engine took, where it stamps its chunks.
    pub at_engine: Option<Duration>,
    /// When to come again, where it was told.
    pub come_again: Option<Duration>,
    /// Until its end.
    pub whole: Duration,
}

/// Sends `rate` calls a second for so long; answers when every one of them has ended.
pub(crate) async fn send_at(target: Target, rate: f64, long: Duration) -> Vec<Shot> {
    let count = (long.as_secs_f64() * rate).round() as u32;
    let at = |n| Duration::from_secs_f64(f64::from(n) / rate);
    send_each((0..count).map(|n| (at(n), target.clone()))).await
}

/// Sends each call at its time since the beginning; answers when every one of them has ended.
pub(crate) async fn send_each(calls: impl Iterator<Item = (Duration, Target)>) -> Vec<Shot> {
    let begin = Instant::now();
    // Connections that wait for the next call.
    let free: Arc<Mutex<Vec<SendRequest<Full<Bytes>>>>> = Arc::default();
    let mut under_way = JoinSet::new();
    for (at, target) in calls {
        sleep_until(begin + at).await;
        let free = free.clone();
        under_way.spawn(async move {
            let sent = Instant::now();
            let mut connection = free.lock().pop();
            let Visit {
                seen,
                first,
                at_engine,
                come_again,
            } = visit(&mut connection, &target).await;
            if let Some(connection) = connection {
                free.lock().push(connection);
            }
            Shot {
                seen,
                sent: sent - begin,
                first,
                at_engine,
                come_again,
                whole: sent.elapsed(),
            }
        });
    }
    let mut shots = Vec::with_capacity(under_way.len());
    while let Some(shot) = under_way.join_next().await {
        shots.extend(shot);
    }
    shots
}
