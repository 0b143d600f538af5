//! Whether an engine stands still: calls wait, the first token of a stream or an answer in one piece is
//! due, and nothing comes from it, though it may say that it is well.

use std::time::{Duration, Instant};

/// What came from an engine, as far as is seen from here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Streams that wait for their first token, and answers in one piece that wait beyond their [`grace`].
    pub waiting: u32,
    /// First tokens that came, pieces of streams after theirs and answers in one piece, ever; it may wrap.
    pub came: u64,
}

/// How long a call is given before it counts as one that waits: `pace` for each of its `pieces`. A stream
/// has none, as its first token is waited for. Of an answer in one piece nothing is seen before the last of
/// its pieces, tokens or embedded texts, so that a long one is no sign that an engine stands still.
#[must_use]
pub fn grace(pieces: u64, pace: Duration) -> Duration {
    pace.saturating_mul(u32::try_from(pieces).unwrap_or(u32::MAX))
}

/// Looks at an engine's progress, again and again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stall {
    came: u64,
    since: Option<Instant>,
}

impl Stall {
    /// Something came since the last look.
    #[must_use]
    pub const fn is_news(&self, progress: Progress) -> bool {
        progress.came != self.came
    }

    /// Looks again. True: in all looks since one `bound` ago at least so many calls waited, and nothing
    /// came. It is said once a bound. One alone may have a very long prompt, and would do the same to each
    /// engine that it comes to.
    pub fn look_again(
        &mut self,
        progress: Progress,
        least: u32,
        bound: Duration,
        now: Instant,
    ) -> bool {
        if progress.waiting < least || progress.came != self.came {
            self.came = progress.came;
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let seen = now.saturating_duration_since(since) >= bound;
        if seen {
            self.since = Some(now);
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(20);

    /// The seconds at which it is seen, looked at each second.
    fn seen(progress: impl Fn(u64) -> Progress, seconds: u64) -> Vec<u64> {
        let (mut stall, begin) = (Stall::default(), Instant::now());
        let at = |second: &u64| {
            let now = begin + Duration::from_secs(*second);
            stall.look_again(progress(*second), 3, BOUND, now)
        };
        (0..seconds).filter(at).collect()
    }

    #[test]
    fn an_engine_from_which_nothing_comes_stands_still_once_a_bound() {
        let hung = |_| Progress {
            waiting: 3,
            came: 7,
        };
        // The first look sees seven pieces that it did not know of.
        assert_eq!(seen(hung, 70), [21, 41, 61]);
    }

    #[test]
    fn an_answer_in_one_piece_is_waited_for_when_all_of_it_could_be_there() {
        let pace = Duration::from_millis(100);
        assert_eq!(grace(0, pace), Duration::ZERO, "a stream");
        assert_eq!(grace(1, pace), pace, "one text that is embedded");
        assert_eq!(grace(1024, pace), Duration::from_millis(102_400));
        assert_eq!(grace(u64::MAX, Duration::MAX), Duration::MAX);
    }

    #[test]
    fn an_engine_for_which_few_wait_or_that_answers_others_does_not() {
        let idle = |_| Progress::default();
        assert!(seen(idle, 100).is_empty());
        let long_prompts = |_| Progress {
            waiting: 2,
            came: 0,
        };
        assert!(seen(long_prompts, 100).is_empty());
        let slow = |second| Progress {
            waiting: 9,
            came: second / 19,
        };
        assert!(seen(slow, 100).is_empty());
        let done = |second| Progress {
            waiting: 3 * u32::from(second % 20 != 19),
            came: 0,
        };
        assert!(seen(done, 100).is_empty());
    }
}
