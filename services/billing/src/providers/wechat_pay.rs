//! WeChat Pay API v3: the payer scans a code, opens a page, or pays inside WeChat.
//!
//! Source: the official SDKs (wechatpay-go 2025-07). Every request is signed with the merchant's
//! key, every answer and notice is believed only with the platform's signature over the raw body.

mod bill;
mod certificates;
mod client;
mod notice;
mod payments;
mod refunds;
mod signature;
mod transaction;

pub use client::WechatPay;
pub use notice::{Content, Notice, NoticeError};
pub use refunds::RefundStatus;
pub use signature::{Platform, SignatureError, Signed};
pub use transaction::{Amount, Transaction};
