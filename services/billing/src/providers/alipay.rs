//! Alipay: the payer scans a code, or opens a page.
//!
//! Source: the open platform's documents as python-alipay-sdk 3.4.0 has them. Requests are signed
//! over their sorted parameters (RSA2); an answer is believed with Alipay's signature over the raw
//! text of its node, a notice with one over its sorted fields. What proves that signature is a
//! public key, or (certificate mode) a certificate under a configured root.

mod amount;
mod bill;
mod certificate;
mod client;
mod notice;
mod payments;
mod refunds;
mod renewal;
mod signature;
mod trust;

pub use amount::{fen, yuan};
pub use client::Alipay;
pub use notice::{Notice, NoticeError};
pub use signature::content;
pub use trust::{Distrust, Untrustworthy};
