//! Fapiao: which kinds there are, what each asks of the buyer, and how far one is.

use wanwu_proto::billing::v1 as pb;

/// Which fapiao.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// General, for a person.
    GeneralPerson,
    /// General, for an enterprise.
    GeneralEnterprise,
    /// Special, for an enterprise that deducts the tax.
    Special,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::GeneralPerson, Self::GeneralEnterprise, Self::Special];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GeneralPerson => "general_person",
            Self::GeneralEnterprise => "general_enterprise",
            Self::Special => "special",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }

    /// From the contract; `None`: unspecified.
    #[must_use]
    pub fn from_wire(kind: pb::InvoiceKind) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|it| pb::InvoiceKind::from(*it) == kind)
    }
}

impl From<Kind> for pb::InvoiceKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::GeneralPerson => Self::GeneralPerson,
            Kind::GeneralEnterprise => Self::GeneralEnterprise,
            Kind::Special => Self::Special,
        }
    }
}

/// How far one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be issued.
    Requested,
    /// Withdrawn by the customer.
    Withdrawn,
    /// Refused by finance, or because the money goes back.
    Refused,
    /// Issued.
    Issued,
    /// Money of its order goes back: a red fapiao is due.
    ReversalDue,
    /// Taken back by a red fapiao.
    Reversed,
}

/// What happens to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The customer withdraws it.
    Withdraw,
    /// Finance refuses it.
    Refuse,
    /// Finance issued it.
    Issue,
    /// Money of its order goes back.
    MoneyGoesBack,
    /// Finance took it back.
    Reverse,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Requested,
        Self::Withdrawn,
        Self::Refused,
        Self::Issued,
        Self::ReversalDue,
        Self::Reversed,
    ];

    /// The state after an event; `None`: the event has no place here.
    #[must_use]
    pub const fn after(self, event: Event) -> Option<Self> {
        match (self, event) {
            (Self::Requested, Event::Withdraw) => Some(Self::Withdrawn),
            (Self::Requested, Event::Refuse | Event::MoneyGoesBack) => Some(Self::Refused),
            (Self::Requested, Event::Issue) => Some(Self::Issued),
            (Self::Issued | Self::ReversalDue, Event::MoneyGoesBack) => Some(Self::ReversalDue),
            // Also for a mistake in it, without any money going back.
            (Self::Issued | Self::ReversalDue, Event::Reverse) => Some(Self::Reversed),
            _ => None,
        }
    }

    /// It counts against what can be invoiced.
    #[must_use]
    pub const fn counts(self) -> bool {
        matches!(self, Self::Requested | Self::Issued | Self::ReversalDue)
    }

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Withdrawn => "withdrawn",
            Self::Refused => "refused",
            Self::Issued => "issued",
            Self::ReversalDue => "reversal_due",
            Self::Reversed => "reversed",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

impl From<State> for pb::InvoiceState {
    fn from(state: State) -> Self {
        match state {
            State::Requested => Self::Requested,
            State::Withdrawn => Self::Withdrawn,
            State::Refused => Self::Refused,
            State::Issued => Self::Issued,
            State::ReversalDue => Self::ReversalDue,
            State::Reversed => Self::Reversed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issued_one_is_taken_back_and_never_forgotten() {
        let events = [
            Event::Withdraw,
            Event::Refuse,
            Event::Issue,
            Event::MoneyGoesBack,
            Event::Reverse,
        ];
        for seed in 0..5_usize.pow(5) {
            let (mut state, mut rest) = (State::Requested, seed);
            let (mut issued, mut reversed) = (0, 0);
            for _ in 0..5 {
                let event = events[rest % 5];
                rest /= 5;
                let Some(next) = state.after(event) else {
                    continue;
                };
                issued += i32::from(event == Event::Issue);
                reversed += i32::from(event == Event::Reverse);
                state = next;
            }
            assert!(reversed <= issued && issued <= 1, "seed {seed}");
            assert_eq!(state == State::Reversed, reversed == 1, "seed {seed}");
            assert_eq!(
                issued == 1 && reversed == 0,
                matches!(state, State::Issued | State::ReversalDue),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn what_is_stored_is_read_as_it_was_written() {
        for state in State::ALL {
            assert_eq!(State::from_stored(state.as_str()), Some(state));
        }
        for kind in Kind::ALL {
            assert_eq!(Kind::from_stored(kind.as_str()), Some(kind));
            assert_eq!(Kind::from_wire(kind.into()), Some(kind));
        }
    }
}
