use super::{
    bus::{Message, Row},
    database::Request,
    provider::Notice,
};
use crate::domain::order::State;

/// Which events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Calls that ended: router to billing.
    Usage,
    /// Orders that were credited: billing to identity, which tells the customer.
    Paid,
}

/// A process that can die alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    Billing,
    Identity,
    Router(usize),
}

/// What is locked until a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    Order(usize),
    Account(usize),
    Epoch(usize),
}

/// What a process is in the middle of: between two steps anything else happens, also its death.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    /// A request that makes an order.
    Create(Request),
    /// A notice, and the order's state once it is read.
    Notice(Notice, Option<State>),
    /// The provider said that the order is closed unpaid.
    Closed(usize),
    /// A refund, by its place: not begun, numbered, made.
    Refund(usize, Option<usize>, bool),
    /// An event that its transaction forgot.
    Tell(usize),
    /// The second half of a booking that its transaction forgot.
    Half(usize, i64),
    /// A lease for a router.
    Grant(Grant),
    /// A call ends: the event's id, and whether the record is written.
    Finish(usize, usize, Option<usize>, bool),
    /// The life of a router is over and settled by another.
    Recover(usize, bool),
    /// A row on its way to the broker: 0 chosen, 1 to be sent, 2 confirmed.
    Relay(Line, Row, u8),
    /// A message: 0 delivered, 1 to be applied, 2 half applied, 3 applied.
    Consume(Line, Message, u8),
}

/// A request for a lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub router: usize,
    pub epoch: usize,
    pub lease: usize,
    pub customer: usize,
    pub want: i64,
    /// The free balance, once it is read.
    pub read: Option<i64>,
    /// What was granted.
    pub granted: Option<i64>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "request {} of {}", self.id, self.body)
    }
}

/// What comes after a step.
pub(super) enum Next {
    /// Another step.
    Again(Work),
    /// The same step, when a lock is free.
    Wait(Work),
    /// Nothing.
    Done,
}

impl Work {
    /// Who dies with it; `None`: it is taken up by somebody else.
    pub(super) fn owner(&self) -> Option<Process> {
        match self {
            Self::Create(_)
            | Self::Notice(..)
            | Self::Closed(_)
            | Self::Refund(..)
            | Self::Tell(_)
            | Self::Half(..)
            | Self::Relay(Line::Paid, ..)
            | Self::Consume(Line::Usage, ..) => Some(Process::Billing),
            Self::Grant(grant) if grant.granted.is_none() => Some(Process::Billing),
            Self::Grant(grant) => Some(Process::Router(grant.router)),
            Self::Finish(router, ..) => Some(Process::Router(*router)),
            Self::Relay(Line::Usage, ..) => Some(Process::Router(0)),
            Self::Consume(Line::Paid, ..) => Some(Process::Identity),
            Self::Recover(..) => None,
        }
    }
}
