use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::DateTime;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use wanwu_clock::TestClock;
use wanwu_proto::identity::v1::Standing;
use wanwu_watch::{Feed, HEARTBEAT, SOURCE_FRESH_FOR, Subscription, poll_changes};

use crate::owner::{settle, standing};

/// The heartbeats within a time.
async fn heartbeats(stream: &mut Subscription<Standing>, time: Duration) -> usize {
    let mut count = 0;
    let end = Instant::now() + time;
    while let Ok(Some(Ok(item))) = tokio::time::timeout_at(end, stream.next()).await {
        count += usize::from(item.is_none());
    }
    count
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_while_the_source_is_fresh() {
    let feed = Feed::new(CancellationToken::new());
    let mut stream = feed.subscribe();
    assert_eq!(
        heartbeats(&mut stream, Duration::from_secs(1)).await,
        0,
        "never confirmed"
    );
    feed.confirm(Instant::now());
    assert!(heartbeats(&mut stream, SOURCE_FRESH_FOR).await >= 1);
    assert_eq!(
        heartbeats(&mut stream, Duration::from_secs(1)).await,
        0,
        "no longer fresh"
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_to_every_subscriber() {
    let feed = Feed::new(CancellationToken::new());
    let (mut one, mut other) = (feed.subscribe(), feed.subscribe());
    feed.publish(standing("a", 1));
    for stream in [&mut one, &mut other] {
        let item = stream.next().await.unwrap().unwrap().unwrap();
        assert_eq!((item.account_id.as_str(), item.version), ("a", 1));
    }
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_before_the_heartbeat_that_vouches_for_them() {
    let feed = Feed::new(CancellationToken::new());
    let mut stream = feed.subscribe();
    for version in 1..=10 {
        feed.publish(standing("a", version));
    }
    feed.confirm(Instant::now());
    for version in 1..=10 {
        assert_eq!(
            stream.next().await.unwrap().unwrap().unwrap().version,
            version
        );
    }
    assert_eq!(stream.next().await.unwrap().unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_is_cut_off() {
    let feed = Feed::new(CancellationToken::new());
    let mut stream = feed.subscribe();
    for version in 1..=10_000 {
        feed.publish(standing("a", version));
    }
    assert_eq!(
        stream.next().await.unwrap().unwrap_err().code(),
        Code::Unavailable
    );
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn streams_end_when_the_service_stops_and_when_the_feed_is_reset() {
    let stop = CancellationToken::new();
    let feed: Feed<Standing> = Feed::new(stop.clone());
    let mut stream = feed.subscribe();
    assert!(stream.next().now_or_never().is_none());
    feed.reset();
    assert_eq!(
        stream.next().await.unwrap().unwrap_err().code(),
        Code::Unavailable
    );
    assert!(stream.next().await.is_none());

    let mut stream = feed.subscribe();
    stop.cancel();
    assert_eq!(
        stream.next().await.unwrap().unwrap_err().code(),
        Code::Unavailable
    );
}

#[tokio::test(start_paused = true)]
async fn a_composed_feed_lives_while_all_that_it_is_made_from_does() {
    let fresh = Arc::new(AtomicBool::new(true));
    let source = Arc::clone(&fresh);
    let feed: Feed<Standing> = Feed::composed(
        move || source.load(Ordering::SeqCst),
        CancellationToken::new(),
    );
    let mut stream = feed.subscribe();
    assert!(heartbeats(&mut stream, Duration::from_secs(1)).await >= 4);
    fresh.store(false, Ordering::SeqCst);
    assert_eq!(heartbeats(&mut stream, Duration::from_secs(1)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_wrote_is_told_within_a_poll() {
    let rows = Arc::new(Mutex::new(Vec::new()));
    let (feed, mut stream, _stop) = polled(&rows, &Arc::default());
    settle().await;
    drop(feed);
    let at = DateTime::from_timestamp(1_800_000_001, 0).unwrap();
    rows.lock().push((standing("a", 1), at));
    let begun = Instant::now();
    loop {
        if let Some(item) = stream.next().await.unwrap().unwrap() {
            assert_eq!(item.version, 1);
            break;
        }
    }
    assert!(begun.elapsed() <= Duration::from_millis(110));
    // The same row is read again and again, and told once.
    let rest = timeout(Duration::from_secs(2), async {
        while let Some(Ok(item)) = stream.next().await {
            assert_eq!(item, None);
        }
    });
    assert!(rest.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn heartbeats_stop_when_the_database_cannot_be_read() {
    let failing = Arc::new(AtomicBool::new(false));
    let (_feed, mut stream, _stop) = polled(&Arc::default(), &failing);
    assert!(heartbeats(&mut stream, Duration::from_secs(1)).await >= 4);
    failing.store(true, Ordering::SeqCst);
    assert!(heartbeats(&mut stream, SOURCE_FRESH_FOR + HEARTBEAT).await <= 2);
    assert_eq!(heartbeats(&mut stream, Duration::from_secs(2)).await, 0);
    failing.store(false, Ordering::SeqCst);
    assert!(heartbeats(&mut stream, Duration::from_secs(1)).await >= 4);
}

type Rows = Arc<Mutex<Vec<(Standing, DateTime<chrono::Utc>)>>>;

fn polled(
    rows: &Rows,
    failing: &Arc<AtomicBool>,
) -> (Feed<Standing>, Subscription<Standing>, CancellationToken) {
    let stop = CancellationToken::new();
    let feed = Feed::new(stop.clone());
    let stream = feed.subscribe();
    let clock = Arc::new(TestClock::new(
        DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
    ));
    let (rows, failing) = (Arc::clone(rows), Arc::clone(failing));
    let fetch = move |since| {
        let (rows, failing) = (Arc::clone(&rows), Arc::clone(&failing));
        async move {
            if failing.load(Ordering::SeqCst) {
                return Err("the database is away");
            }
            Ok(rows
                .lock()
                .iter()
                .filter(|(_, at)| *at >= since)
                .cloned()
                .collect())
        }
    };
    tokio::spawn(poll_changes(feed.clone(), clock, stop.clone(), fetch));
    (feed, stream, stop)
}
