//! The time between the chunks of a stream as they come from its engine.

use tokio::time::Instant;
use wanwu_telemetry::GEN_AI_SECONDS;

use super::Of;

/// How far apart the chunks of one stream came, by the buckets of the histogram: at a chunk nothing is locked
/// or looked for, and the histogram is told once, at the end of the stream.
#[derive(Debug, Default)]
pub struct Gaps {
    before: Option<Instant>,
    buckets: [Bucket; GEN_AI_SECONDS.len() + 1],
}

/// The gaps of one bucket.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    count: u32,
    seconds: f64,
}

impl Gaps {
    /// A chunk came.
    pub fn chunk(&mut self, now: Instant) {
        let Some(before) = self.before.replace(now) else {
            return;
        };
        let seconds = (now - before).as_secs_f64();
        let bucket = GEN_AI_SECONDS.partition_point(|bound| *bound < seconds);
        let bucket = &mut self.buckets[bucket];
        bucket.count += 1;
        bucket.seconds += seconds;
    }

    /// The client has no room: how long it is until the next chunk says nothing of the engine.
    pub const fn held_up(&mut self) {
        self.before = None;
    }

    /// The stream is over.
    pub fn tell(&self, of: &Of<'_>) {
        if self.buckets.iter().all(|bucket| bucket.count == 0) {
            return;
        }
        let name = "gen_ai_client_operation_time_per_output_chunk_seconds";
        let histogram = of.histogram(|kept| &kept.gaps, name, None);
        for (seconds, count) in self.means() {
            histogram.record_many(seconds, count);
        }
    }

    /// The mean of each bucket and how often it was there: told so, both the buckets and the sum of all gaps
    /// are what they were.
    fn means(&self) -> impl Iterator<Item = (f64, usize)> {
        let bounds = GEN_AI_SECONDS.into_iter().chain([f64::INFINITY]);
        let buckets = self.buckets.into_iter().zip(bounds);
        let used = buckets.filter(|(bucket, _)| bucket.count > 0);
        used.map(|(bucket, bound)| {
            let mean = bucket.seconds / f64::from(bucket.count);
            // Not beyond its bucket by a last digit.
            (mean.min(bound), bucket.count as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn gaps_keep_their_buckets_and_their_sum_and_those_of_a_slow_client_are_none() {
        let mut gaps = Gaps::default();
        let mut now = Instant::now();
        gaps.chunk(now);
        for millis in [5, 10, 15, 20, 100_000] {
            now += Duration::from_millis(millis);
            gaps.chunk(now);
        }
        gaps.held_up();
        for millis in [700, 30] {
            now += Duration::from_millis(millis);
            gaps.chunk(now);
        }
        let means: Vec<_> = gaps.means().collect();
        let expected = [(0.0075, 2), (0.0175, 2), (0.03, 1), (100.0, 1)];
        assert_eq!(means.len(), expected.len(), "{means:?}");
        for ((mean, count), (seconds, of)) in means.into_iter().zip(expected) {
            assert!(
                (mean - seconds).abs() < 1e-9 && count == of,
                "{mean} {count}"
            );
        }
    }
}
