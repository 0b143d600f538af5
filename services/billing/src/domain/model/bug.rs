/// A mechanism that is taken away. Where two guard the same thing, the bug takes both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The consumer acknowledges a message before its effect commits.
    AckBeforeCommit,
    /// The relay takes a message that no queue took for published.
    PublishWithoutMandatory,
    /// The relay marks a row as published before the broker has confirmed it.
    MarkBeforeConfirm,
    /// The relay sends the rows after the highest id that it sent: rows that commit late stay.
    RelayById,
    /// The inbox's record commits before the effect.
    DedupBeforeWrite,
    /// The effect commits before the inbox's record.
    WriteBeforeDedup,
    /// There is no inbox.
    NoInbox,
    /// An event whose handler failed is acknowledged and forgotten.
    FailedEventDropped,
    /// The event of a credit is written after the credit's transaction.
    EventOutsideTransaction,
    /// The router writes the event of a call after the call's record.
    UsageOutsideTransaction,
    /// The router keeps no journal of calls that run.
    CallNotJournaled,
    /// A call is booked for each event that tells of it.
    CallBilledAgain,
    /// A notice reads the order without a lock and writes later.
    PaymentCheckThenWrite,
    /// A notice's signature is not checked.
    SignatureNotChecked,
    /// A notice of another merchant is taken.
    ProviderNotBound,
    /// A notice's amount is not compared.
    AmountNotChecked,
    /// A late "closed" is written over "paid".
    PaidOverwritten,
    /// A payment of an expired order is dropped.
    LatePaymentDropped,
    /// Orders that nobody tells of are not asked for.
    NoticesOnly,
    /// A second payment of an order is credited.
    SecondPaymentCredited,
    /// A second payment of an order is neither credited nor refunded.
    SecondPaymentKept,
    /// Each try of a refund has a number of its own at the provider.
    RefundNotIdempotent,
    /// A lease whose calls are all settled when it is closed keeps its hold.
    HoldNotReleased,
    /// A lease goes back whole when it is closed, before its calls are settled.
    FreedBeforeSettled,
    /// A repeated request for a lease grants it again.
    LeaseGrantedAgain,
    /// A lease reads the balance without a lock and writes later.
    LeaseCheckThenWrite,
    /// A fenced epoch is granted leases.
    FencedEpochGranted,
    /// Leases whose grant never reached their router are not closed after it.
    OrphanLeaseKept,
    /// A booking's entries are written one by one.
    OneSidedBooking,
    /// A repeated request makes another order.
    RequestNotRemembered,
    /// A request id is taken with another body.
    OtherBodyTaken,
}

impl Bug {
    /// Every bug.
    pub const ALL: [Self; 31] = [
        Self::AckBeforeCommit,
        Self::PublishWithoutMandatory,
        Self::MarkBeforeConfirm,
        Self::RelayById,
        Self::DedupBeforeWrite,
        Self::WriteBeforeDedup,
        Self::NoInbox,
        Self::FailedEventDropped,
        Self::EventOutsideTransaction,
        Self::UsageOutsideTransaction,
        Self::CallNotJournaled,
        Self::CallBilledAgain,
        Self::PaymentCheckThenWrite,
        Self::SignatureNotChecked,
        Self::ProviderNotBound,
        Self::AmountNotChecked,
        Self::PaidOverwritten,
        Self::LatePaymentDropped,
        Self::NoticesOnly,
        Self::SecondPaymentCredited,
        Self::SecondPaymentKept,
        Self::RefundNotIdempotent,
        Self::HoldNotReleased,
        Self::FreedBeforeSettled,
        Self::LeaseGrantedAgain,
        Self::LeaseCheckThenWrite,
        Self::FencedEpochGranted,
        Self::OrphanLeaseKept,
        Self::OneSidedBooking,
        Self::RequestNotRemembered,
        Self::OtherBodyTaken,
    ];
}
