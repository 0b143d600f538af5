//! Payments, without a provider and without a database.

use chrono::{DateTime, Utc};
use wanwu_ids::OrderId;

/// Who moves money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// WeChat Pay.
    Wechat,
    /// Alipay.
    Alipay,
}

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 2] = [Self::Wechat, Self::Alipay];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wechat => "wechat",
            Self::Alipay => "alipay",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// A payment that its provider proved to be ours: the signature, the merchant, the app, the
/// number and the currency were right. Whether it pays its order is decided here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedPayment {
    /// Who moved the money.
    pub provider: Provider,
    /// The order that it names.
    pub order_id: OrderId,
    /// The provider's number of the payment, 1 to 64 characters.
    pub transaction_id: String,
    /// What was paid, in fen.
    pub amount_fen: i64,
    /// When, as the provider says.
    pub paid_at: Option<DateTime<Utc>>,
}

/// What came of a proved payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Credited now.
    Credited,
    /// It goes back to the payer.
    Returned,
    /// It was applied before.
    Before,
}

/// The payment is the provider's, but not for this order: nothing is credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentMismatch {
    /// Another merchant's.
    #[error("the payment is another merchant's")]
    Merchant,
    /// Another app's.
    #[error("the payment is another app's")]
    App,
    /// Not a success.
    #[error("the payment did not succeed")]
    State,
    /// No order of ours has that number.
    #[error("no order has that number")]
    Order,
    /// The order is not offered through this provider.
    #[error("the order is not offered through this provider")]
    Channel,
    /// Another amount, or another currency.
    #[error("the payment's amount is not the order's")]
    Amount,
    /// The provider's transaction is missing, or paid another order.
    #[error("the payment belongs to another order")]
    Transaction,
}

impl PaymentMismatch {
    /// For metrics.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Merchant => "merchant",
            Self::App => "app",
            Self::State => "state",
            Self::Order => "order",
            Self::Channel => "channel",
            Self::Amount => "amount",
            Self::Transaction => "transaction",
        }
    }
}
