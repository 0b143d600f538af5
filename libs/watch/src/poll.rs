use std::{collections::HashMap, fmt::Display, future::Future};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use wanwu_clock::SharedClock;

use crate::{Feed, Item, POLL_EVERY};

/// How many rows one reading may return; a fetch reads them in the order of their times.
pub const POLL_LIMIT: usize = 10_000;

/// A transaction may write its time and commit that much later.
const OVERLAP: TimeDelta = TimeDelta::seconds(10);

/// Reads the database every 100 ms for what changed, whichever replica changed it, and tells it
/// to the feed. `fetch(since)` returns every value that changed at or after `since`, with the time
/// of its change, oldest first, at most [`POLL_LIMIT`]; a reading that fails stops the heartbeats.
pub async fn poll_changes<T, F, R, E>(
    feed: Feed<T>,
    clock: SharedClock,
    stop: CancellationToken,
    fetch: F,
) where
    T: Item,
    F: Fn(DateTime<Utc>) -> R + Send,
    R: Future<Output = Result<Vec<(T, DateTime<Utc>)>, E>> + Send,
    E: Display,
{
    let mut told = Told {
        latest: clock.now(),
        behind: false,
        versions: HashMap::new(),
    };
    let mut ticks = interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let begun = Instant::now();
        let Some(read) = stop.run_until_cancelled(fetch(told.since())).await else {
            return;
        };
        match read {
            Ok(rows) => {
                for item in told.news(rows) {
                    feed.publish(item);
                }
                if !told.behind {
                    feed.confirm(begun);
                }
                failing = false;
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "changes cannot be read");
                }
                failing = true;
            }
        }
    }
}

/// What was told within the overlap.
struct Told {
    latest: DateTime<Utc>,
    /// The last reading was full: there is more.
    behind: bool,
    versions: HashMap<String, (u64, DateTime<Utc>)>,
}

impl Told {
    /// From when on to read. Where there are more rows than one reading returns, the overlap
    /// would return the same ones for ever.
    fn since(&self) -> DateTime<Utc> {
        if self.behind {
            self.latest
        } else {
            self.latest - OVERLAP
        }
    }

    fn news<T: Item>(&mut self, rows: Vec<(T, DateTime<Utc>)>) -> Vec<T> {
        self.behind = rows.len() >= POLL_LIMIT;
        let mut news = Vec::new();
        for (item, changed_at) in rows {
            self.latest = self.latest.max(changed_at);
            let known = self.versions.get(item.key());
            if known.is_none_or(|(version, _)| *version < item.version()) {
                self.versions
                    .insert(item.key().to_owned(), (item.version(), changed_at));
                news.push(item);
            }
        }
        let oldest = self.latest - OVERLAP;
        self.versions
            .retain(|_, (_, changed_at)| *changed_at >= oldest);
        news
    }
}

#[cfg(test)]
mod tests {
    use wanwu_proto::identity::v1::Standing;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn row(key: &str, version: u64, second: i64) -> (Standing, DateTime<Utc>) {
        let account_id = key.to_owned();
        (
            Standing {
                account_id,
                version,
                ..Standing::default()
            },
            at(second),
        )
    }

    fn told() -> Told {
        Told {
            latest: at(0),
            behind: false,
            versions: HashMap::new(),
        }
    }

    #[test]
    fn a_row_is_told_once_a_version() {
        let mut told = told();
        assert_eq!(told.news(vec![row("a", 1, 1), row("b", 1, 1)]).len(), 2);
        assert_eq!(told.news(vec![row("a", 1, 1), row("b", 2, 2)]).len(), 1);
        assert_eq!(told.news(vec![row("a", 1, 1), row("b", 2, 2)]).len(), 0);
    }

    #[test]
    fn a_row_that_was_committed_late_is_told() {
        let mut told = told();
        told.news(vec![row("a", 1, 20)]);
        assert_eq!(told.since(), at(10));
        let late = told.news(vec![row("b", 1, 12), row("a", 1, 20)]);
        assert_eq!(late[0].account_id, "b");
    }

    #[test]
    fn a_full_reading_is_followed_by_its_rest() {
        let mut told = told();
        let full = (0..POLL_LIMIT).map(|i| row(&i.to_string(), 1, 5)).collect();
        assert_eq!(told.news(full).len(), POLL_LIMIT);
        assert!(told.behind);
        assert_eq!(told.since(), at(5));
        told.news(vec![row("last", 1, 6)]);
        assert_eq!(told.since(), at(-4));
    }

    #[test]
    fn what_is_older_than_the_overlap_is_forgotten() {
        let mut told = told();
        told.news(vec![row("a", 1, 1)]);
        told.news(vec![row("b", 1, 30)]);
        assert_eq!(told.versions.len(), 1);
    }
}
