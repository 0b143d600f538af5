//! The ways in which model engines go wrong.

use serde::{Deserialize, Serialize};

use super::Script;

/// What is wrong with the whole engine. It is set with `PUT /_illness` at the control address, which
/// answers whatever the illness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Illness {
    /// Nothing.
    #[default]
    None,
    /// Connections are closed as soon as they are taken; those that were open break.
    Refuses,
    /// Connections are taken and nothing is ever answered on any, not even `/health`.
    Blackholed,
    /// `/health` is well and no call gets a token; those that came stay so when it is mended.
    Hangs,
    /// Everything takes ten times as long.
    TenTimesSlower,
    /// Every other call is refused: with 500, and with 429 and `Retry-After: 1`, in turn.
    HalfErrors,
    /// Every other call is refused with 500.
    EveryOtherFails,
    /// `/health` is well and every call is refused with 500.
    Fails,
    /// Streams break after two tokens.
    CutsStreams,
    /// Frames that are no JSON: before the first token and after two, in turn.
    Garbage,
    /// No usage in any answer.
    NoUsage,
}

/// How a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 500.
    Error,
    /// 429, to come again after a second.
    Busy,
}

impl Illness {
    /// What it makes of the script of the `n`-th call, counted from 0.
    pub(super) fn afflict(self, script: &mut Script, n: u64) -> Result<(), Refusal> {
        match self {
            Self::None | Self::Refuses | Self::Blackholed => {}
            Self::Hangs => script.hang_after = Some(0),
            Self::TenTimesSlower => {
                script.first_delay_ms *= 10;
                script.delay_ms *= 10;
            }
            Self::HalfErrors => match n % 4 {
                1 => return Err(Refusal::Error),
                3 => return Err(Refusal::Busy),
                _ => {}
            },
            Self::EveryOtherFails if n % 2 == 1 => return Err(Refusal::Error),
            Self::EveryOtherFails => {}
            Self::Fails => return Err(Refusal::Error),
            Self::CutsStreams => script.cut_after = Some(2),
            Self::Garbage => script.garbage_after = Some(2 * (n % 2) as u32),
            Self::NoUsage => script.no_usage = true,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(illness: Illness) -> [Result<(), Refusal>; 4] {
        [0, 1, 2, 3].map(|n| illness.afflict(&mut Script::default(), n))
    }

    #[test]
    fn half_of_the_calls_are_refused_in_both_ways_or_in_one() {
        let (error, busy) = (Err(Refusal::Error), Err(Refusal::Busy));
        assert_eq!(outcomes(Illness::HalfErrors), [Ok(()), error, Ok(()), busy]);
        assert_eq!(
            outcomes(Illness::EveryOtherFails),
            [Ok(()), error, Ok(()), error]
        );
        assert_eq!(outcomes(Illness::Fails), [error; 4]);
    }

    #[test]
    fn a_slow_engine_takes_ten_times_as_long() {
        let mut script = Script {
            first_delay_ms: 7,
            delay_ms: 2,
            ..Script::default()
        };
        assert_eq!(Illness::TenTimesSlower.afflict(&mut script, 0), Ok(()));
        assert_eq!((script.first_delay_ms, script.delay_ms), (70, 20));
    }
}
