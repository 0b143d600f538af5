//! How long a client is waited for, while it sends a body and while it takes an answer. Beside the
//! longest wait there is a least rate: a little now and then is not enough.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::Limits;

/// The rate below which a client is too slow.
#[derive(Clone, Copy, Debug)]
pub struct LeastRate {
    /// Bytes a second; 0: there is none.
    pub bytes: u64,
    /// How far behind it a client may be.
    pub grace: Duration,
}

/// A client that is waited for now and then. Only the time counts in which it is waited for, and
/// what it sends or takes makes up for it; the clock is read when a wait begins and when it ends.
pub struct Pace {
    way: Way,
    least: LeastRate,
    /// What moved and is not in `worth` yet.
    bytes: u64,
    /// How long the client was waited for.
    waited: Duration,
    /// How long that may have been, for what moved.
    worth: Duration,
    wait: Option<Wait>,
    /// It is set anew only when it rings: that is rarer than waits are.
    alarm: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    /// The client sends. All waits together last `most`; being faster before counts for `ahead`.
    Sends { most: Duration, ahead: Duration },
    /// The client takes. From here that goes in large steps (a third of the kernel's buffer, half
    /// of HTTP/2's window): a wait may last `stall`, and is judged by all that is taken until the
    /// next one.
    Takes { stall: Duration },
}

/// A wait under way.
#[derive(Clone, Copy, Debug)]
struct Wait {
    since: Instant,
    /// When it is too long; none: never.
    due: Option<Instant>,
}

/// Why a client is waited for no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooSlow {
    /// The wait was too long.
    Wait,
    /// Too little moved in the waits before.
    Rate,
}

impl LeastRate {
    /// At which bodies must come.
    #[must_use]
    pub const fn of_requests(limits: &Limits) -> Self {
        Self {
            bytes: limits.min_request_rate,
            grace: limits.rate_grace,
        }
    }

    /// At which answers must be taken.
    #[must_use]
    pub const fn of_answers(limits: &Limits) -> Self {
        Self {
            bytes: limits.min_answer_rate,
            grace: limits.rate_grace,
        }
    }

    /// How long so many bytes may take.
    fn time(self, bytes: u64) -> Duration {
        const NANOS: u64 = 1_000_000_000;
        let nanos = bytes.saturating_mul(NANOS).checked_div(self.bytes);
        nanos.map_or(Duration::MAX, Duration::from_nanos)
    }
}

impl Pace {
    /// Of a client whose body is read whole before it is passed on.
    #[must_use]
    pub const fn of_whole_body(limits: &Limits) -> Self {
        let least = LeastRate::of_requests(limits);
        Self::sends(least, limits.body_timeout, limits.body_timeout)
    }

    /// Of a client whose body is passed on as it comes: it ends with its call.
    #[must_use]
    pub const fn of_passed_body(limits: &Limits) -> Self {
        let least = LeastRate::of_requests(limits);
        Self::sends(least, Duration::MAX, limits.body_timeout)
    }

    /// Of a client that sends, and is waited for `most` in all. Being faster before makes up for
    /// at most `ahead`.
    #[must_use]
    pub const fn sends(least: LeastRate, most: Duration, ahead: Duration) -> Self {
        Self::new(Way::Sends { most, ahead }, least)
    }

    /// Of a client that takes, and must take something within `stall`.
    #[must_use]
    pub const fn takes(least: LeastRate, stall: Duration) -> Self {
        Self::new(Way::Takes { stall }, least)
    }

    const fn new(way: Way, least: LeastRate) -> Self {
        Self {
            way,
            least,
            bytes: 0,
            waited: Duration::ZERO,
            worth: Duration::ZERO,
            wait: None,
            alarm: None,
        }
    }

    /// The client did its part, with so many bytes: a wait ends.
    pub fn moved(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if let Some(wait) = self.wait.take() {
            self.waited = self.waited.saturating_add(wait.since.elapsed());
        }
    }

    /// The client is waited for; ready when it was for too long.
    pub fn poll(&mut self, task: &mut Context<'_>) -> Poll<TooSlow> {
        let wait = match self.wait {
            Some(wait) => wait,
            None => match self.begin() {
                Some(wait) => wait,
                None => return Poll::Ready(TooSlow::Rate),
            },
        };
        let Some(due) = wait.due else {
            return Poll::Pending;
        };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(alarm.as_mut().poll(task));
            if alarm.deadline() >= due {
                return Poll::Ready(TooSlow::Wait);
            }
            alarm.as_mut().reset(due);
        }
    }

    /// Begins a wait; none: there were too many already.
    fn begin(&mut self) -> Option<Wait> {
        let patience = self.patience();
        if patience.is_zero() {
            return None;
        }
        let since = Instant::now();
        let due = since.checked_add(patience);
        self.wait = Some(Wait { since, due });
        self.wait
    }

    /// How long the client is waited for now.
    fn patience(&mut self) -> Duration {
        let left = self.left();
        match self.way {
            Way::Sends { most, .. } => left.min(most.saturating_sub(self.waited)),
            Way::Takes { .. } if left.is_zero() => Duration::ZERO,
            Way::Takes { stall } => stall,
        }
    }

    /// How much longer the client may be waited for, for what moved.
    fn left(&mut self) -> Duration {
        if self.least.bytes == 0 {
            return Duration::MAX;
        }
        let ahead = match self.way {
            Way::Sends { ahead, .. } => ahead,
            Way::Takes { .. } => Duration::ZERO,
        };
        let worth = self.least.time(std::mem::take(&mut self.bytes));
        let worth = self.worth.saturating_add(worth);
        self.worth = worth.min(self.waited.saturating_add(ahead));
        let allowed = self.worth.saturating_add(self.least.grace);
        allowed.saturating_sub(self.waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LEAST: LeastRate = LeastRate {
        bytes: 100,
        grace: Duration::from_secs(5),
    };

    /// As if the client had been waited for so long, and then so much moved.
    fn after(pace: &mut Pace, seconds: u64, bytes: usize) -> Duration {
        pace.waited += SECOND * u32::try_from(seconds).unwrap();
        pace.moved(bytes);
        pace.patience()
    }

    #[test]
    fn who_sends_faster_than_the_least_rate_is_waited_for_without_end() {
        let mut pace = Pace::sends(LEAST, Duration::MAX, 30 * SECOND);
        assert_eq!(pace.patience(), 5 * SECOND);
        for _ in 0..1000 {
            assert!(after(&mut pace, 4, 800) >= 5 * SECOND);
        }
        // What it did long ago counts for thirty seconds, not for an hour.
        assert_eq!(after(&mut pace, 0, 1 << 30), 35 * SECOND);
        assert_eq!(after(&mut pace, 34, 0), SECOND);
        assert_eq!(after(&mut pace, 1, 0), Duration::ZERO);
    }

    #[test]
    fn who_sends_a_little_now_and_then_is_waited_for_as_long_as_it_is_worth() {
        let mut pace = Pace::sends(LEAST, Duration::MAX, 30 * SECOND);
        assert_eq!(after(&mut pace, 4, 100), 2 * SECOND);
        assert_eq!(after(&mut pace, 1, 50), Duration::from_millis(1500));
        assert_eq!(after(&mut pace, 2, 0), Duration::ZERO);
    }

    #[test]
    fn all_waits_for_a_body_have_an_end() {
        let mut pace = Pace::sends(LEAST, 30 * SECOND, 30 * SECOND);
        assert_eq!(after(&mut pace, 28, 1 << 20), 2 * SECOND);
        let none = LeastRate { bytes: 0, ..LEAST };
        let mut pace = Pace::sends(none, 30 * SECOND, 30 * SECOND);
        assert_eq!(after(&mut pace, 29, 1), SECOND);
        assert_eq!(after(&mut pace, 1, 1), Duration::ZERO);
    }

    #[test]
    fn who_takes_in_large_steps_is_judged_by_the_steps() {
        let stall = 60 * SECOND;
        let mut pace = Pace::takes(LEAST, stall);
        // Nothing of what it took before it was waited for counts.
        assert_eq!(after(&mut pace, 0, 1 << 30), stall);
        for _ in 0..1000 {
            assert_eq!(after(&mut pace, 50, 10_000), stall);
        }
        assert_eq!(after(&mut pace, 50, 4600), stall);
        assert_eq!(after(&mut pace, 50, 4900), Duration::ZERO);
        let none = LeastRate { bytes: 0, ..LEAST };
        let mut pace = Pace::takes(none, stall);
        assert_eq!(after(&mut pace, 50, 1), stall);
        assert_eq!(after(&mut pace, 50, 1), stall);
    }

    #[tokio::test]
    async fn the_alarm_rings_when_the_last_wait_is_due() {
        let least = LeastRate {
            bytes: 1000,
            grace: Duration::from_millis(100),
        };
        let mut pace = Pace::sends(least, Duration::MAX, SECOND);
        let begun = Instant::now();
        let mut steps = 0;
        let slow = std::future::poll_fn(|task| {
            // A hundred bytes at once are worth as much as the grace.
            if steps == 0 {
                assert!(pace.poll(task).is_pending());
                pace.moved(100);
                steps += 1;
            }
            pace.poll(task)
        });
        assert_eq!(slow.await, TooSlow::Wait);
        assert!(begun.elapsed() >= Duration::from_millis(190));
        assert!(begun.elapsed() < 5 * SECOND);
    }
}
