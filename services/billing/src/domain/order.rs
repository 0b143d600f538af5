use chrono::Duration;
use wanwu_proto::billing::v1::OrderState;

/// How long a payer has.
pub const LIFETIME: Duration = Duration::minutes(30);

/// The state of a top-up order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Made; no provider has answered yet.
    Created,
    /// The payer can pay somewhere.
    AwaitingPayment,
    /// Paid and credited.
    Paid,
    /// Not paid in time; the providers said that it is closed.
    Expired,
    /// The customer cancelled; the providers are being told.
    Cancelling,
    /// Cancelled; the providers said that it is closed.
    Cancelled,
}

/// What happens to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A provider took it.
    ChannelOpened,
    /// A provider proved a payment that was not known before.
    PaymentProved,
    /// Every provider said that nobody can pay any more.
    ClosedUnpaid,
    /// The customer does not want it any more.
    CancelAsked,
}

/// What becomes of the money of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Money {
    /// There is none.
    None,
    /// It is credited to the customer.
    Credit,
    /// It goes back: another payment was credited.
    ReturnDuplicate,
    /// It goes back: the customer had cancelled.
    ReturnLate,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Created,
        Self::AwaitingPayment,
        Self::Paid,
        Self::Expired,
        Self::Cancelling,
        Self::Cancelled,
    ];

    /// The state after an event, and what becomes of its money.
    ///
    /// Money that arrives is never lost. It is credited to an order that waits, that expired (the
    /// payer still wanted it) or that is being cancelled (the payer was faster); it goes back
    /// when another payment was credited, or when the order was cancelled before.
    #[must_use]
    pub const fn after(self, event: Event) -> (Self, Money) {
        match (self, event) {
            (Self::Paid, Event::PaymentProved) => (Self::Paid, Money::ReturnDuplicate),
            (Self::Cancelled, Event::PaymentProved) => (Self::Cancelled, Money::ReturnLate),
            (_, Event::PaymentProved) => (Self::Paid, Money::Credit),
            (Self::Created, Event::ChannelOpened) => (Self::AwaitingPayment, Money::None),
            (Self::Created | Self::AwaitingPayment, Event::ClosedUnpaid) => {
                (Self::Expired, Money::None)
            }
            (Self::Cancelling, Event::ClosedUnpaid) => (Self::Cancelled, Money::None),
            (Self::Created | Self::AwaitingPayment, Event::CancelAsked) => {
                (Self::Cancelling, Money::None)
            }
            (state, _) => (state, Money::None),
        }
    }

    /// It can be offered and paid.
    #[must_use]
    pub const fn is_payable(self) -> bool {
        matches!(self, Self::Created | Self::AwaitingPayment)
    }

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::AwaitingPayment => "awaiting_payment",
            Self::Paid => "paid",
            Self::Expired => "expired",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
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
            State::Cancelling => Self::Cancelling,
            State::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_of_the_machine() {
        use Event::{CancelAsked, ChannelOpened, ClosedUnpaid, PaymentProved};
        use Money::{Credit, None, ReturnDuplicate, ReturnLate};
        use State::{AwaitingPayment, Cancelled, Cancelling, Created, Expired, Paid};
        for (state, [opened, proved, closed, cancel]) in [
            (
                Created,
                [
                    (AwaitingPayment, None),
                    (Paid, Credit),
                    (Expired, None),
                    (Cancelling, None),
                ],
            ),
            (
                AwaitingPayment,
                [
                    (AwaitingPayment, None),
                    (Paid, Credit),
                    (Expired, None),
                    (Cancelling, None),
                ],
            ),
            (
                Paid,
                [
                    (Paid, None),
                    (Paid, ReturnDuplicate),
                    (Paid, None),
                    (Paid, None),
                ],
            ),
            (
                Expired,
                [
                    (Expired, None),
                    (Paid, Credit),
                    (Expired, None),
                    (Expired, None),
                ],
            ),
            (
                Cancelling,
                [
                    (Cancelling, None),
                    (Paid, Credit),
                    (Cancelled, None),
                    (Cancelling, None),
                ],
            ),
            (
                Cancelled,
                [
                    (Cancelled, None),
                    (Cancelled, ReturnLate),
                    (Cancelled, None),
                    (Cancelled, None),
                ],
            ),
        ] {
            assert_eq!(state.after(ChannelOpened), opened, "{state:?}");
            assert_eq!(state.after(PaymentProved), proved, "{state:?}");
            assert_eq!(state.after(ClosedUnpaid), closed, "{state:?}");
            assert_eq!(state.after(CancelAsked), cancel, "{state:?}");
        }
    }

    #[test]
    fn whatever_happens_in_whatever_order_one_payment_is_credited_and_the_others_go_back() {
        use Event::{CancelAsked, ChannelOpened, ClosedUnpaid, PaymentProved};
        let events = [ChannelOpened, PaymentProved, ClosedUnpaid, CancelAsked];
        for seed in 0..4_usize.pow(7) {
            let mut state = State::Created;
            let (mut proved, mut credits, mut returns) = (0, 0, 0);
            let mut rest = seed;
            for _ in 0..7 {
                let event = events[rest % 4];
                rest /= 4;
                let before = state;
                let (next, money) = state.after(event);
                proved += i32::from(event == PaymentProved);
                credits += i32::from(money == Money::Credit);
                returns += i32::from(matches!(money, Money::ReturnDuplicate | Money::ReturnLate));
                assert!(before != State::Paid || next == State::Paid, "seed {seed}");
                state = next;
            }
            assert!(credits <= 1, "seed {seed}");
            assert_eq!(credits + returns, proved, "seed {seed}");
            assert_eq!(credits == 1, state == State::Paid, "seed {seed}");
        }
    }

    #[test]
    fn every_state_is_read_as_it_was_written() {
        for state in State::ALL {
            assert_eq!(State::from_stored(state.as_str()), Some(state));
        }
    }
}
