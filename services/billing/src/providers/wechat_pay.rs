//! WeChat Pay API v3, native payment: the payer scans a code.
//!
//! Source: the official SDKs (wechatpay-go 2025-07). Every request is signed with the merchant's
//! key, every answer and notice is believed only with the platform's signature over the raw body.

mod client;
mod notice;
mod signature;

pub use client::{WechatPay, WechatPayError, out_trade_no};
pub use notice::{Notice, NoticeError};
pub use signature::{MerchantKey, Platform, SignatureError, Signed};

use serde::Deserialize;

/// What the provider says about an order, after its signature was verified.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Transaction {
    /// Whose payment.
    #[serde(default)]
    pub mchid: String,
    /// The app that it was made for.
    #[serde(default)]
    pub appid: String,
    /// Our number of the order: its id without hyphens.
    #[serde(default)]
    pub out_trade_no: String,
    /// The provider's number of the payment.
    #[serde(default)]
    pub transaction_id: String,
    /// `SUCCESS`, `NOTPAY`, `CLOSED`, `REFUND`, `USERPAYING`, `PAYERROR`.
    #[serde(default)]
    pub trade_state: String,
    /// When it was paid.
    pub success_time: Option<chrono::DateTime<chrono::Utc>>,
    /// What was paid.
    pub amount: Option<Amount>,
}

/// An amount of the provider.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Amount {
    /// In fen.
    pub total: i64,
    /// `CNY`.
    #[serde(default)]
    pub currency: String,
}
