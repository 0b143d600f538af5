//! What each illness may do to the clients of three engines, one of which is ill.

use std::time::Duration;

use super::{CLIENTS, Shown};
use crate::simulators::engine::Illness;

/// Until an engine is left out that answers nothing well: some five times what it takes.
const LEFT_OUT: Duration = Duration::from_secs(20);
/// Until one is trusted again that is well, beside as long as it was ill: what it is left alone for doubles
/// with each call on trial that fails.
const TRUSTED: Duration = Duration::from_secs(10);

/// What one illness may do at most.
pub(super) struct Bounds {
    /// Until the engine is left out; none: it answers, and need not be.
    pub left_out: Option<Duration>,
    /// From its health on until it is trusted again.
    trusted: Duration,
    /// Streams that break after their first token.
    cut: u64,
}

impl Bounds {
    /// Of an illness that lasts so long, where an engine that says that it is well is left out after
    /// `stall`.
    pub(super) fn of(illness: Illness, ill_for: Duration, stall: Duration) -> Self {
        let under_way = CLIENTS as u64;
        let (left_out, cut) = match illness {
            // What is under way on its connections breaks with them.
            Illness::Refuses | Illness::Blackholed => (Some(LEFT_OUT), under_way),
            // No call gets a token of it.
            Illness::Hangs => (Some(stall + LEFT_OUT), 0),
            // Three in a row, what is under way then, and one call on trial after each backoff.
            Illness::CutsStreams | Illness::Garbage => (Some(LEFT_OUT), 3 * under_way),
            Illness::None | Illness::TenTimesSlower | Illness::HalfErrors | Illness::NoUsage => {
                (None, 0)
            }
        };
        Self {
            left_out,
            trusted: ill_for + TRUSTED,
            cut,
        }
    }

    /// What was not as it must be, in words.
    pub(super) fn missed(&self, shown: &Shown) -> Vec<String> {
        let late = |after: Option<Duration>, bound| after.is_none_or(|after| after > bound);
        let mut missed = Vec::new();
        if let Some(bound) = self.left_out {
            if late(shown.left_out, bound) {
                missed.push(format!("it is not left out within {bound:?}"));
            }
            if shown.left_out.is_some() && late(shown.trusted, self.trusted) {
                missed.push(format!("it is not trusted again within {:?}", self.trusted));
            }
        }
        if shown.counts.cut > self.cut {
            missed.push(format!("more than {} streams are cut", self.cut));
        }
        missed
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Counts, *};

    const SHORT: Duration = Duration::from_secs(4);

    fn shown(left_out: Option<u64>, trusted: Option<u64>, cut: u64) -> Shown {
        Shown {
            counts: Counts {
                cut,
                ..Counts::default()
            },
            share: 0.0,
            left_out: left_out.map(Duration::from_secs),
            trusted: trusted.map(Duration::from_secs),
        }
    }

    #[test]
    fn who_answers_nothing_well_is_left_out_and_trusted_again_in_time() {
        let bounds = Bounds::of(Illness::Garbage, SHORT, SHORT);
        assert!(bounds.missed(&shown(Some(1), Some(2), 9)).is_empty());
        assert_eq!(bounds.missed(&shown(None, None, 0)).len(), 1);
        assert_eq!(bounds.missed(&shown(Some(1), None, 0)).len(), 1);
        assert_eq!(bounds.missed(&shown(Some(60), Some(60), 900)).len(), 3);
    }

    #[test]
    fn who_answers_need_not_be_left_out_and_breaks_nothing() {
        for illness in [Illness::HalfErrors, Illness::NoUsage] {
            let bounds = Bounds::of(illness, SHORT, SHORT);
            assert!(bounds.missed(&shown(None, None, 0)).is_empty());
            assert_eq!(bounds.missed(&shown(None, None, 1)).len(), 1);
        }
    }
}
