//! What ids can name. Append only, alphabetical.

use crate::Id;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $alias:ident;)*) => {$(
        $(#[$doc])*
        pub type $alias = Id<marker::$kind>;
    )*
    /// One uninhabited type a kind: it exists only in types.
    pub mod marker {$(
        #[doc = concat!("Marks a `", stringify!($alias), "`.")]
        pub enum $kind {}
    )*}};
}

kinds! {
    /// A customer's account.
    Account = AccountId;
    /// A customer's application.
    App = AppId;
    /// One call of a model.
    Call = CallId;
    /// An entry of the consent ledger.
    Consent = ConsentId;
    /// Anything that can be presented as a bearer token.
    Credential = CredentialId;
    /// An end user's device.
    Device = DeviceId;
    /// One life of one router process.
    Epoch = EpochId;
    /// An event on the bus.
    Event = EventId;
    /// An API key.
    Key = KeyId;
    /// Credit lent to a router replica.
    Lease = LeaseId;
    /// An operator.
    Operator = OperatorId;
    /// An order.
    Order = OrderId;
    /// A price list that an operator handed in.
    PriceProposal = PriceProposalId;
    /// A refund of a payment.
    Refund = RefundId;
    /// A request that creates something.
    Request = RequestId;
    /// A signed-in session.
    Session = SessionId;
    /// A transfer of the ledger.
    Transfer = TransferId;
    /// A real-name verification.
    Verification = VerificationId;
    /// A version of an agreement.
    Version = VersionId;
}
