//! What each illness may do to the clients of three engines, one of which is ill.

use std::{ops::RangeInclusive, time::Duration};

use super::{CLIENTS, Shown};
use crate::simulators::engine::Illness;

/// Until an engine is left out that answers nothing well: some five times what it takes.
const LEFT_OUT: Duration = Duration::from_secs(20);
/// Until one is trusted again that is well, beside as long as it was ill: what it is left alone for doubles
/// with each call on trial that fails.
const TRUSTED: Duration = Duration::from_secs(10);

/// Of all calls, what the ill one gets at most, and what it gets at least where nothing is wrong with its
/// answers: half of a third, less a little. One that is ten times as slow gets a tenth in a model of this figure,
/// one that is busy each second or fails half of its calls a twelfth at most.
const SHARE: f64 = 0.15;

/// What one illness may do at most.
pub(super) struct Bounds {
    /// Until the engine is left out; none: it answers, and need not be.
    pub left_out: Option<Duration>,
    /// From its health on until it is trusted again; none: it is, now and then, while it is ill.
    pub trusted: Option<Duration>,
    /// Streams that break after their first token.
    cut: u64,
    /// Of all calls, those that come to it.
    share: RangeInclusive<f64>,
}

impl Bounds {
    /// Of an illness that lasts so long, where an engine that says that it is well is left out after
    /// `stall`.
    pub(super) fn of(illness: Illness, ill_for: Duration, stall: Duration) -> Self {
        let under_way = CLIENTS as u64;
        let trusted = Some(ill_for + TRUSTED);
        let (left_out, trusted, cut) = match illness {
            // What is under way on its connections breaks with them.
            Illness::Refuses | Illness::Blackholed => (Some(LEFT_OUT), trusted, under_way),
            // No call gets a token of it.
            Illness::Hangs => (Some(stall + LEFT_OUT), trusted, 0),
            // Three in a row, what is under way then, and one call on trial after each backoff.
            Illness::CutsStreams | Illness::Garbage => (Some(LEFT_OUT), trusted, 3 * under_way),
            Illness::Fails => (Some(LEFT_OUT), trusted, 0),
            // By half of its last calls; the one on trial may be of the other half.
            Illness::EveryOtherFails => (Some(LEFT_OUT), None, 0),
            Illness::None | Illness::TenTimesSlower | Illness::HalfErrors | Illness::NoUsage => {
                (None, None, 0)
            }
        };
        let share = match illness {
            Illness::None | Illness::NoUsage => SHARE..=1.0,
            _ => 0.0..=SHARE,
        };
        Self {
            left_out,
            trusted,
            cut,
            share,
        }
    }

    /// What was not as it must be, in words.
    pub(super) fn missed(&self, shown: &Shown) -> Vec<String> {
        let late = |after: Option<Duration>, bound| after.is_none_or(|after| after > bound);
        let mut missed = Vec::new();
        if let Some(bound) = self.left_out
            && late(shown.left_out, bound)
        {
            missed.push(format!("it is not left out within {bound:?}"));
        }
        if let Some(bound) = self.trusted
            && shown.left_out.is_some()
            && late(shown.trusted, bound)
        {
            missed.push(format!("it is not trusted again within {bound:?}"));
        }
        if !self.share.contains(&shown.share) {
            let [share, least, most] =
                [shown.share, *self.share.start(), *self.share.end()].map(|it| 100.0 * it);
            missed.push(format!(
                "it gets {share:.1} % of the calls, not {least:.0} to {most:.0} %"
            ));
        }
        if shown.counts.cut > self.cut {
            missed.push(format!("more than {} streams are cut", self.cut));
        }
        let hidden: u64 = shown.counts.hidden.iter().sum();
        if hidden > 0 {
            missed.push(format!("{hidden} calls end as if they were whole"));
        }
        missed
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Counts, *};

    const SHORT: Duration = Duration::from_secs(4);

    fn shown(left_out: Option<u64>, trusted: Option<u64>, cut: u64, share: f64) -> Shown {
        Shown {
            counts: Counts {
                cut,
                ..Counts::default()
            },
            share,
            left_out: left_out.map(Duration::from_secs),
            trusted: trusted.map(Duration::from_secs),
        }
    }

    #[test]
    fn who_answers_nothing_well_is_left_out_and_trusted_again_in_time() {
        let bounds = Bounds::of(Illness::Garbage, SHORT, SHORT);
        let missed = |shown| bounds.missed(&shown).len();
        assert_eq!(missed(shown(Some(1), Some(2), 9, 0.0)), 0);
        assert_eq!(missed(shown(None, None, 0, 0.0)), 1);
        assert_eq!(missed(shown(Some(1), None, 0, 0.0)), 1);
        assert_eq!(missed(shown(Some(60), Some(60), 900, 0.3)), 4);
    }

    #[test]
    fn who_answers_need_not_be_left_out_and_breaks_nothing() {
        for (illness, share) in [(Illness::HalfErrors, 0.05), (Illness::NoUsage, 0.33)] {
            let bounds = Bounds::of(illness, SHORT, SHORT);
            assert!(bounds.missed(&shown(None, None, 0, share)).is_empty());
            assert_eq!(bounds.missed(&shown(None, None, 1, share)).len(), 1);
        }
    }

    #[test]
    fn who_is_slow_gets_little_and_who_only_tells_no_usage_does_not() {
        for (illness, wrong) in [(Illness::TenTimesSlower, 0.2), (Illness::NoUsage, 0.1)] {
            let bounds = Bounds::of(illness, SHORT, SHORT);
            assert_eq!(bounds.missed(&shown(None, None, 0, wrong)).len(), 1);
        }
    }

    #[test]
    fn who_fails_half_of_its_calls_is_left_out_and_may_be_trusted_meanwhile() {
        let bounds = Bounds::of(Illness::EveryOtherFails, SHORT, SHORT);
        assert!(bounds.missed(&shown(Some(1), None, 0, 0.05)).is_empty());
        assert_eq!(bounds.missed(&shown(None, None, 0, 0.05)).len(), 1);
    }
}
