use chrono::{DateTime, Duration, Utc};
use wanwu_proto::verification::v1::VerificationState;

/// The state of a real-name check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The agency has not answered.
    Pending,
    /// Name and number agree.
    Verified,
    /// They do not.
    Rejected,
    /// It held once and does not any more.
    Revoked,
}

/// What the agency said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Name and number belong together.
    Match,
    /// They do not, or the agency knows no such person.
    NoMatch,
}

impl State {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Verified => "verified",
            Self::Rejected => "rejected",
            Self::Revoked => "revoked",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Pending, Self::Verified, Self::Rejected, Self::Revoked]
            .into_iter()
            .find(|state| state.as_str() == text)
    }

    /// The state after the agency's answer; an answer that comes after another changes nothing.
    #[must_use]
    pub const fn decide(self, answer: Answer) -> Self {
        match (self, answer) {
            (Self::Pending, Answer::Match) => Self::Verified,
            (Self::Pending, Answer::NoMatch) => Self::Rejected,
            (decided, _) => decided,
        }
    }
}

impl From<State> for VerificationState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Verified => Self::Verified,
            State::Rejected => Self::Rejected,
            State::Revoked => Self::Revoked,
        }
    }
}

/// When an agency that did not answer is asked again: 2, 4, 8 ... seconds, at most 5 minutes.
#[must_use]
pub fn next_query(now: DateTime<Utc>, queries: u32) -> DateTime<Utc> {
    now + Duration::seconds((1_i64 << queries.clamp(1, 9)).min(300))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_answer_decides() {
        for state in [State::Verified, State::Rejected, State::Revoked] {
            assert_eq!(state.decide(Answer::Match), state);
            assert_eq!(state.decide(Answer::NoMatch), state);
        }
        assert_eq!(State::Pending.decide(Answer::Match), State::Verified);
        assert_eq!(State::Pending.decide(Answer::NoMatch), State::Rejected);
    }

    #[test]
    fn every_state_is_read_as_it_was_written() {
        for state in [
            State::Pending,
            State::Verified,
            State::Rejected,
            State::Revoked,
        ] {
            assert_eq!(State::from_stored(state.as_str()), Some(state));
        }
        assert_eq!(State::from_stored("other"), None);
    }

    #[test]
    fn a_silent_agency_is_asked_ever_less_often_but_never_given_up() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(next_query(now, 1), now + Duration::seconds(2));
        assert_eq!(next_query(now, 5), now + Duration::seconds(32));
        assert_eq!(next_query(now, 1000), now + Duration::seconds(300));
    }
}
