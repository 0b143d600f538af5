//! Refunds: why, and how far one is.

use chrono::{DateTime, Duration, Utc};
use wanwu_proto::billing::v1 as pb;

/// Why money is given back; there are no others (obligation T3.3.4a, deviation C-05).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The service could not be used because of an infringement dispute.
    InfringementDispute,
    /// Prepaid and not provided as agreed: Consumer Rights Law, article 53.
    PrepaidNotProvided,
    /// Paid by a minor without consent: Civil Code, articles 19 and 20.
    Minor,
    /// Another payment of the order was credited.
    DuplicatePayment,
    /// The order was cancelled before.
    PaidAfterCancellation,
    /// The platform ended the contract.
    Termination,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::InfringementDispute,
        Self::PrepaidNotProvided,
        Self::Minor,
        Self::DuplicatePayment,
        Self::PaidAfterCancellation,
        Self::Termination,
    ];

    /// An operator can request it as it is; a termination has a request of its own.
    #[must_use]
    pub const fn is_requested(self) -> bool {
        !self.is_automatic() && !matches!(self, Self::Termination)
    }

    /// It happens by itself: nobody requests or approves it.
    #[must_use]
    pub const fn is_automatic(self) -> bool {
        matches!(self, Self::DuplicatePayment | Self::PaidAfterCancellation)
    }

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InfringementDispute => "infringement_dispute",
            Self::PrepaidNotProvided => "prepaid_not_provided",
            Self::Minor => "minor",
            Self::DuplicatePayment => "duplicate_payment",
            Self::PaidAfterCancellation => "paid_after_cancellation",
            Self::Termination => "termination",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }

    /// From the contract; `None`: unspecified.
    #[must_use]
    pub fn from_wire(reason: pb::RefundReason) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|it| pb::RefundReason::from(*it) == reason)
    }
}

impl From<Reason> for pb::RefundReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::InfringementDispute => Self::InfringementDispute,
            Reason::PrepaidNotProvided => Self::PrepaidNotProvided,
            Reason::Minor => Self::Minor,
            Reason::DuplicatePayment => Self::DuplicatePayment,
            Reason::PaidAfterCancellation => Self::PaidAfterCancellation,
            Reason::Termination => Self::Termination,
        }
    }
}

/// How far a refund is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for a second operator.
    Requested,
    /// Refused by the second operator.
    Refused,
    /// The money is set aside; the provider is to be told.
    Approved,
    /// The provider works on it.
    Sent,
    /// The payer has it.
    Succeeded,
    /// The provider closed it; the money is still set aside.
    Failed,
}

/// What happens to a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The second operator approves.
    Approve,
    /// The second operator refuses.
    Refuse,
    /// The provider took it.
    Taken,
    /// The provider proved that the payer has it.
    Proved,
    /// The provider proved that it will not happen.
    Closed,
    /// An operator sends it again under a new number.
    Retry,
}

/// What an event does to the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// It is set aside.
    SetAside,
    /// It leaves to the payer.
    Leave,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Requested,
        Self::Refused,
        Self::Approved,
        Self::Sent,
        Self::Succeeded,
        Self::Failed,
    ];

    /// The state after an event and what happens to the money; `None`: the event has no place
    /// here.
    ///
    /// What the provider proves counts from every state in which the provider can know of the
    /// refund, also from `Failed`: its answers come in any order.
    #[must_use]
    pub const fn after(self, event: Event) -> Option<(Self, Effect)> {
        match (self, event) {
            (Self::Requested, Event::Approve) => Some((Self::Approved, Effect::SetAside)),
            (Self::Requested, Event::Refuse) => Some((Self::Refused, Effect::None)),
            (Self::Approved | Self::Sent, Event::Taken) => Some((Self::Sent, Effect::None)),
            (Self::Approved | Self::Sent | Self::Failed, Event::Proved) => {
                Some((Self::Succeeded, Effect::Leave))
            }
            (Self::Approved | Self::Sent, Event::Closed) => Some((Self::Failed, Effect::None)),
            (Self::Failed, Event::Retry) => Some((Self::Approved, Effect::None)),
            _ => None,
        }
    }

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Refused => "refused",
            Self::Approved => "approved",
            Self::Sent => "sent",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }

    /// From the contract; `None`: unspecified.
    #[must_use]
    pub fn from_wire(state: pb::RefundState) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|it| pb::RefundState::from(*it) == state)
    }
}

impl From<State> for pb::RefundState {
    fn from(state: State) -> Self {
        match state {
            State::Requested => Self::Requested,
            State::Refused => Self::Refused,
            State::Approved => Self::Approved,
            State::Sent => Self::Sent,
            State::Succeeded => Self::Succeeded,
            State::Failed => Self::Failed,
        }
    }
}

/// When the provider is asked again: after 2, 4, 8 ... seconds, at most every half hour.
#[must_use]
pub fn next_query(now: DateTime<Utc>, queries: u32) -> DateTime<Utc> {
    now + Duration::seconds((2_i64 << queries.min(12)).min(1800))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 6] = [
        Event::Approve,
        Event::Refuse,
        Event::Taken,
        Event::Proved,
        Event::Closed,
        Event::Retry,
    ];

    #[test]
    fn whatever_happens_in_whatever_order_money_leaves_once_and_only_what_was_set_aside() {
        for seed in 0..6_usize.pow(7) {
            let (mut state, mut rest) = (State::Requested, seed);
            let (mut aside, mut left, mut approved) = (0, 0, false);
            for _ in 0..7 {
                let event = EVENTS[rest % 6];
                rest /= 6;
                let Some((next, effect)) = state.after(event) else {
                    continue;
                };
                approved |= event == Event::Approve;
                aside += i32::from(effect == Effect::SetAside);
                left += i32::from(effect == Effect::Leave);
                assert!(left <= aside && aside <= 1, "seed {seed}");
                state = next;
            }
            assert_eq!(aside == 1, approved, "seed {seed}");
            assert_eq!(left == 1, state == State::Succeeded, "seed {seed}");
        }
    }

    #[test]
    fn what_ended_stays_as_it_is() {
        for event in EVENTS {
            assert_eq!(State::Succeeded.after(event), None);
            assert_eq!(State::Refused.after(event), None);
        }
    }

    #[test]
    fn what_is_stored_is_read_as_it_was_written() {
        for state in State::ALL {
            assert_eq!(State::from_stored(state.as_str()), Some(state));
            assert_eq!(State::from_wire(state.into()), Some(state));
        }
        for reason in Reason::ALL {
            assert_eq!(Reason::from_stored(reason.as_str()), Some(reason));
            assert_eq!(Reason::from_wire(reason.into()), Some(reason));
        }
    }
}
