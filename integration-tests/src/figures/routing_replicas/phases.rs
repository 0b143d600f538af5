//! What clients saw while something was killed, phase by phase, and how much of it nothing excuses.

use super::super::model_path::Counts;

/// Clients of the load, each with one call at a time.
pub(super) const CLIENTS: usize = 12;

/// What may fail in a phase. Whoever dies, the edge or a router lives that can say so: an end that its client
/// takes for a whole answer's is never excused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excused {
    /// Nothing.
    Nothing,
    /// Streams that ran on an engine that died: one of each client. What had no token goes to another.
    Streams,
    /// Calls that ran on a router that died: one of each client.
    Calls,
}

/// The phases so far.
#[derive(Debug, Default)]
pub(super) struct Phases {
    /// Calls that failed or broke, and nothing excuses it.
    pub wrong: u64,
    /// Those that died with who ran them.
    pub excused: u64,
}

impl Excused {
    /// How many of the failures it does not cover.
    fn wrong(self, counts: &Counts) -> u64 {
        let one_of_each = CLIENTS as u64;
        let hidden: u64 = counts.hidden.iter().sum();
        let [refused, cut] = [
            counts.refused - counts.hidden[0],
            counts.cut - counts.hidden[1],
        ];
        let told = match self {
            Self::Nothing => refused + cut,
            Self::Streams => refused + cut.saturating_sub(one_of_each),
            Self::Calls => (refused + cut).saturating_sub(one_of_each),
        };
        told + hidden
    }
}

impl Phases {
    /// Prints what clients saw in a phase and judges it; `found` is per cent of prompts' blocks.
    pub(super) fn end(
        &mut self,
        what: &str,
        excused: Excused,
        counts: &Counts,
        found: f64,
        note: &str,
    ) {
        let hidden: u64 = counts.hidden.iter().sum();
        println!(
            "  {what:<32} {:>6} calls, {} failed before a token, {} cut, {hidden} of these without a word, longest wait {:.2?}, {found:.1} % of blocks found{note}",
            counts.calls, counts.refused, counts.cut, counts.longest
        );
        for (word, count) in &counts.words {
            println!("    {count} x {word}");
        }
        let wrong = excused.wrong(counts);
        self.wrong += wrong;
        self.excused += counts.refused + counts.cut - wrong;
        if wrong > 0 {
            println!("  WRONG: {wrong} of them");
        }
        if counts.calls == 0 {
            println!("  WRONG: no call ended, so that nothing is shown");
            self.wrong += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_died_with_who_ran_it_is_one_call_of_each_client_at_most() {
        let counts = |refused, cut| Counts {
            calls: 100,
            refused,
            cut,
            ..Counts::default()
        };
        let each = CLIENTS as u64;
        assert_eq!(Excused::Nothing.wrong(&counts(1, 2)), 3);
        assert_eq!(Excused::Streams.wrong(&counts(1, each)), 1);
        assert_eq!(Excused::Streams.wrong(&counts(0, each + 2)), 2);
        assert_eq!(Excused::Calls.wrong(&counts(2, each - 2)), 0);
        assert_eq!(Excused::Calls.wrong(&counts(5, each)), 5);
    }

    #[test]
    fn an_end_that_its_client_cannot_see_is_excused_by_nothing() {
        let counts = |refused, cut, hidden| Counts {
            refused,
            cut,
            hidden,
            ..Counts::default()
        };
        let each = CLIENTS as u64;
        for excused in [Excused::Nothing, Excused::Streams, Excused::Calls] {
            assert_eq!(excused.wrong(&counts(0, 2, [0, 2])), 2, "{excused:?}");
            assert_eq!(excused.wrong(&counts(1, 0, [1, 0])), 1, "{excused:?}");
        }
        assert_eq!(Excused::Streams.wrong(&counts(1, each, [0, 1])), 2);
        assert_eq!(Excused::Calls.wrong(&counts(3, each, [0, 1])), 3);
    }

    #[test]
    fn a_phase_without_calls_shows_nothing() {
        let mut phases = Phases::default();
        phases.end("", Excused::Calls, &Counts::default(), 0.0, "");
        assert_eq!((phases.wrong, phases.excused), (1, 0));
    }

    #[test]
    fn phases_add_up() {
        let mut phases = Phases::default();
        let counts = Counts {
            calls: 9,
            refused: 2,
            cut: 1,
            ..Counts::default()
        };
        phases.end("", Excused::Calls, &counts, 0.0, "");
        phases.end("", Excused::Streams, &counts, 0.0, "");
        assert_eq!((phases.wrong, phases.excused), (2, 4));
    }
}
