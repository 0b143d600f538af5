use chrono::{DateTime, Duration, Utc};
use wanwu_proto::billing::v1::OrderState;

/// How long a payer has.
pub const LIFETIME: Duration = Duration::minutes(30);

/// The state of a top-up order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Made; the provider has not answered with a code.
    Created,
    /// The payer has a code.
    AwaitingPayment,
    /// Paid and credited.
    Paid,
    /// Not paid in time, and the provider said that it is closed.
    Expired,
}

/// What happens to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The provider gave a code.
    CodeGiven,
    /// The provider proved that it was paid.
    PaymentProved,
    /// The provider proved that it is closed unpaid.
    ClosedUnpaid,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [
        Self::Created,
        Self::AwaitingPayment,
        Self::Paid,
        Self::Expired,
    ];

    /// The state after an event, and whether the payment is to be credited now.
    ///
    /// Money that arrives is money: a proved payment is credited from every state but `Paid`, also
    /// for an order that was given up.
    #[must_use]
    pub const fn after(self, event: Event) -> (Self, bool) {
        match (self, event) {
            (Self::Paid, _) => (Self::Paid, false),
            (_, Event::PaymentProved) => (Self::Paid, true),
            (Self::Created, Event::CodeGiven) => (Self::AwaitingPayment, false),
            (Self::Created | Self::AwaitingPayment, Event::ClosedUnpaid) => (Self::Expired, false),
            (state, _) => (state, false),
        }
    }

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::AwaitingPayment => "awaiting_payment",
            Self::Paid => "paid",
            Self::Expired => "expired",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl From<State> for OrderState {
    fn from(state: State) -> Self {
        match state {
            State::Created => Self::Created,
            State::AwaitingPayment => Self::AwaitingPayment,
            State::Paid => Self::Paid,
            State::Expired => Self::Expired,
        }
    }
}

/// When the provider is asked again about an order that nobody told of: after 5, 10, 20 ... seconds,
/// at most every 2 minutes.
#[must_use]
pub fn next_query(now: DateTime<Utc>, queries: u32) -> DateTime<Utc> {
    now + Duration::seconds((5_i64 << queries.min(5)).min(120))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_of_the_machine() {
        use Event::{ClosedUnpaid, CodeGiven, PaymentProved};
        use State::{AwaitingPayment, Created, Expired, Paid};
        for (state, event, expected) in [
            (Created, CodeGiven, (AwaitingPayment, false)),
            (Created, PaymentProved, (Paid, true)),
            (Created, ClosedUnpaid, (Expired, false)),
            (AwaitingPayment, CodeGiven, (AwaitingPayment, false)),
            (AwaitingPayment, PaymentProved, (Paid, true)),
            (AwaitingPayment, ClosedUnpaid, (Expired, false)),
            (Paid, CodeGiven, (Paid, false)),
            (Paid, PaymentProved, (Paid, false)),
            (Paid, ClosedUnpaid, (Paid, false)),
            (Expired, CodeGiven, (Expired, false)),
            (Expired, PaymentProved, (Paid, true)),
            (Expired, ClosedUnpaid, (Expired, false)),
        ] {
            assert_eq!(state.after(event), expected, "{state:?} {event:?}");
        }
    }

    #[test]
    fn whatever_happens_in_whatever_order_an_order_is_credited_once() {
        use Event::{ClosedUnpaid, CodeGiven, PaymentProved};
        let events = [CodeGiven, PaymentProved, ClosedUnpaid];
        for seed in 0..3_usize.pow(7) {
            let mut state = State::Created;
            let (mut credits, mut proved) = (0, false);
            let mut rest = seed;
            for _ in 0..7 {
                let event = events[rest % 3];
                rest /= 3;
                proved |= event == PaymentProved;
                let (next, credit) = state.after(event);
                credits += i32::from(credit);
                state = next;
            }
            assert_eq!(credits, i32::from(proved), "seed {seed}");
        }
    }

    #[test]
    fn every_state_is_read_as_it_was_written() {
        for state in State::ALL {
            assert_eq!(State::from_stored(state.as_str()), Some(state));
        }
    }
}
