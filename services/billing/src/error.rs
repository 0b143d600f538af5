use std::time::Duration;

use tonic::{Code, Status};
use wanwu_grpc::{Failure, Violation, status};
use wanwu_postgres::{is_transient, requests::ClaimError, violates};
use wanwu_proto::{billing::v1::ErrorReason, operations};

use crate::{
    domain::{budget::Subject, lease::LeaseError, purchase::NotAllowed},
    providers::ProviderError,
};

/// What a caller of billing can be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request.
    #[error("{field} {what}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// There is no such thing, or it is not the caller's.
    #[error("not found")]
    NotFound,
    /// The free credit does not cover what was asked.
    #[error("the free credit does not cover what was asked")]
    InsufficientBalance,
    /// A budget does not cover what was asked.
    #[error("the budget of the {} does not cover what was asked", .subject.kind())]
    BudgetExhausted {
        /// Whose.
        subject: Subject,
        /// What of it leases hold.
        leased: i64,
    },
    /// The epoch is fenced.
    #[error("the epoch is fenced")]
    EpochFenced,
    /// The lease was closed with other numbers, or states less than was settled.
    #[error("the lease does not agree")]
    Lease(#[from] LeaseError),
    /// The payment provider did not do it.
    #[error("the payment provider is not available; repeat the request")]
    Provider(#[from] ProviderError),
    /// The order was paid, cancelled or expired.
    #[error("the order cannot be paid any more")]
    OrderNotPayable,
    /// The refund is in another state.
    #[error("the refund is not in the state that this needs")]
    RefundState,
    /// Who requested a refund wants to decide about it.
    #[error("another operator decides")]
    SameOperator,
    /// More than what was paid and not given back.
    #[error("more than what was paid and not given back")]
    RefundTooLarge,
    /// The proposal of a price list was decided otherwise.
    #[error("the proposal was decided otherwise")]
    PriceProposalState,
    /// A price list would start too early.
    #[error("the list starts before customers had notice, or before another list")]
    PriceListStart,
    /// The same request_id came with another body.
    #[error("the request_id was used with another body")]
    RequestIdReused,
    /// The case was resolved with other words.
    #[error("the case was resolved with other words")]
    CaseResolved,
    /// A line of a statement was imported before with other content.
    #[error("a line of the statement was imported before with other content")]
    BankLineConflict,
    /// Nothing is left of the bank line.
    #[error("nothing is left of the bank line")]
    BankLineNotOpen,
    /// The provider has no bill of that day, or none yet.
    #[error("the provider has no bill of that day, or none yet")]
    BillNotReady,
    /// The product has terms of its own that were not accepted.
    #[error("the current version of the product's own terms was not accepted")]
    AddendumNotAccepted,
    /// The order is in another state of delivery.
    #[error("the order is not in the state of delivery that this needs")]
    FulfilmentState,
    /// More than what was paid, not given back and not invoiced.
    #[error("more than what was paid, not given back and not invoiced")]
    InvoiceTooLarge,
    /// The invoice is in another state.
    #[error("the invoice is not in the state that this needs")]
    InvoiceState,
    /// Another invoice has the number.
    #[error("another invoice has this number")]
    InvoiceNumberTaken,
    /// Less than thirty days.
    #[error("notice is given at least thirty days before")]
    NoticeTooShort,
    /// The termination is in another state, or the contract is over.
    #[error("the termination is not in the state that this needs, or the contract is over")]
    TerminationState,
    /// The request for a credit limit was decided otherwise, or another one is open.
    #[error("the request was decided otherwise, or another one of the account is open")]
    CreditLimitState,
    /// One operator alone only lowers a credit limit.
    #[error("one operator alone only lowers a limit; request it")]
    CreditLimitNotLower,
    /// The buyer is a minor, and no permission of the guardian covers the order.
    #[error("no permission of the guardian covers the order (监护人未允许此次购买)")]
    PurchaseNotAllowed(NotAllowed),
    /// The application for the brand was answered otherwise, or no rules are published.
    #[error("the application was answered otherwise, or no rules of the brand are published")]
    BrandApplicationState,
    /// Personal data cannot be sealed.
    #[error("personal data cannot be sealed")]
    Personal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No price list is in force.
    #[error("no price list is in force")]
    NoPrices,
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl Error {
    /// A field that is not valid.
    pub fn invalid(field: &'static str, what: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            what: what.into(),
        }
    }

    /// Credit that is lent elsewhere would help.
    #[must_use]
    pub const fn is_shortage(&self) -> bool {
        matches!(
            self,
            Self::InsufficientBalance | Self::BudgetExhausted { .. }
        )
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if violates(&error, "ledger_accounts_balance_nanos_check") {
            Self::InsufficientBalance
        } else {
            Self::Database(error)
        }
    }
}

impl From<ClaimError> for Error {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Reused => Self::RequestIdReused,
            ClaimError::Database(error) => Self::Database(error),
        }
    }
}

impl Failure for Error {
    fn code(&self) -> Code {
        match self {
            Self::Invalid { .. } => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::InsufficientBalance | Self::BudgetExhausted { .. } => Code::ResourceExhausted,
            Self::EpochFenced
            | Self::Lease(_)
            | Self::CaseResolved
            | Self::OrderNotPayable
            | Self::RefundState
            | Self::RefundTooLarge
            | Self::PriceProposalState
            | Self::PriceListStart
            | Self::BankLineConflict
            | Self::BankLineNotOpen
            | Self::BillNotReady
            | Self::AddendumNotAccepted
            | Self::FulfilmentState
            | Self::InvoiceTooLarge
            | Self::InvoiceState
            | Self::NoticeTooShort
            | Self::TerminationState
            | Self::CreditLimitState
            | Self::CreditLimitNotLower
            | Self::BrandApplicationState => Code::FailedPrecondition,
            Self::SameOperator | Self::PurchaseNotAllowed(_) => Code::PermissionDenied,
            Self::Provider(ProviderError::Absent) => Code::Unimplemented,
            Self::Provider(ProviderError::Payer) => Code::InvalidArgument,
            Self::Provider(_) => Code::Unavailable,
            Self::RequestIdReused | Self::InvoiceNumberTaken => Code::AlreadyExists,
            Self::Database(error) if is_transient(error) => Code::Unavailable,
            Self::NoPrices | Self::Personal(_) | Self::Database(_) => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        use operations::v1::ErrorReason as Platform;
        match self {
            Self::Invalid { .. } => Platform::InvalidArgument.as_str_name(),
            Self::NotFound => Platform::NotFound.as_str_name(),
            Self::InsufficientBalance => ErrorReason::InsufficientBalance.as_str_name(),
            Self::BudgetExhausted { .. } => ErrorReason::BudgetExhausted.as_str_name(),
            Self::EpochFenced => ErrorReason::EpochFenced.as_str_name(),
            Self::Lease(_) => ErrorReason::LeaseMismatch.as_str_name(),
            Self::Provider(ProviderError::Payer) => Platform::InvalidArgument.as_str_name(),
            Self::Provider(_) => ErrorReason::ProviderUnavailable.as_str_name(),
            Self::BankLineConflict => ErrorReason::BankLineConflict.as_str_name(),
            Self::BankLineNotOpen => ErrorReason::BankLineNotOpen.as_str_name(),
            Self::BillNotReady => ErrorReason::BillNotReady.as_str_name(),
            Self::AddendumNotAccepted => ErrorReason::AddendumNotAccepted.as_str_name(),
            Self::FulfilmentState => ErrorReason::FulfilmentState.as_str_name(),
            Self::InvoiceTooLarge => ErrorReason::InvoiceTooLarge.as_str_name(),
            Self::InvoiceState | Self::InvoiceNumberTaken => {
                ErrorReason::InvoiceState.as_str_name()
            }
            Self::NoticeTooShort => ErrorReason::NoticeTooShort.as_str_name(),
            Self::TerminationState => ErrorReason::TerminationState.as_str_name(),
            Self::CreditLimitState => ErrorReason::CreditLimitState.as_str_name(),
            Self::CreditLimitNotLower => ErrorReason::CreditLimitNotLower.as_str_name(),
            Self::BrandApplicationState => ErrorReason::BrandApplicationState.as_str_name(),
            Self::PurchaseNotAllowed(_) => ErrorReason::PurchaseNotAllowed.as_str_name(),
            Self::CaseResolved => ErrorReason::CaseResolved.as_str_name(),
            Self::OrderNotPayable => ErrorReason::OrderNotPayable.as_str_name(),
            Self::RefundState => ErrorReason::RefundState.as_str_name(),
            Self::SameOperator => ErrorReason::SameOperator.as_str_name(),
            Self::RefundTooLarge => ErrorReason::RefundTooLarge.as_str_name(),
            Self::PriceProposalState => ErrorReason::PriceProposalState.as_str_name(),
            Self::PriceListStart => ErrorReason::PriceListStart.as_str_name(),
            Self::RequestIdReused => Platform::RequestIdReused.as_str_name(),
            Self::Database(error) if is_transient(error) => Platform::Unavailable.as_str_name(),
            Self::NoPrices | Self::Personal(_) | Self::Database(_) => {
                Platform::Internal.as_str_name()
            }
        }
    }

    fn domain(&self) -> &'static str {
        match self {
            Self::Provider(ProviderError::Payer) => wanwu_grpc::DOMAIN,
            Self::InsufficientBalance
            | Self::BudgetExhausted { .. }
            | Self::EpochFenced
            | Self::Lease(_)
            | Self::Provider(_)
            | Self::CaseResolved
            | Self::OrderNotPayable
            | Self::RefundState
            | Self::SameOperator
            | Self::RefundTooLarge
            | Self::PriceProposalState
            | Self::PriceListStart
            | Self::BankLineConflict
            | Self::BankLineNotOpen
            | Self::BillNotReady
            | Self::AddendumNotAccepted
            | Self::FulfilmentState
            | Self::InvoiceTooLarge
            | Self::InvoiceState
            | Self::InvoiceNumberTaken
            | Self::NoticeTooShort
            | Self::TerminationState
            | Self::CreditLimitState
            | Self::CreditLimitNotLower
            | Self::PurchaseNotAllowed(_)
            | Self::BrandApplicationState => "billing.wanwu",
            _ => wanwu_grpc::DOMAIN,
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid { field, what } => {
                vec![Violation {
                    field: (*field).to_owned(),
                    description: what.clone(),
                }]
            }
            _ => Vec::new(),
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::BudgetExhausted { subject, .. } => vec![("subject", subject.kind().to_owned())],
            Self::PurchaseNotAllowed(limit) => vec![("limit", limit.as_str().to_owned())],
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        (self.code() == Code::Unavailable).then_some(Duration::from_secs(1))
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        status(&error)
    }
}
