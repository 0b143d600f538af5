use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::WechatPay;
use crate::{
    providers::{ProviderError, RefundProgress, RefundReply, out_refund_no},
    store::refunds::Refund,
};

/// What the provider says about a refund, after its signature was verified. In an answer the
/// state is `status`, in a notice `refund_status`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RefundStatus {
    /// Whose; only in notices.
    #[serde(default)]
    pub mchid: String,
    /// Our number of the refund.
    #[serde(default)]
    pub out_refund_no: String,
    /// The provider's number of the payment.
    #[serde(default)]
    pub transaction_id: String,
    /// `SUCCESS`, `CLOSED`, `PROCESSING`, `ABNORMAL`.
    #[serde(default, alias = "refund_status")]
    pub status: String,
    /// How much.
    pub amount: Option<RefundAmount>,
}

/// The amounts of a refund.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RefundAmount {
    /// What goes back, in fen.
    pub refund: i64,
}

impl RefundStatus {
    /// What it says of a refund of ours; `None`: it is about another one.
    #[must_use]
    pub fn of(&self, refund: &Refund) -> Option<RefundReply> {
        let amount = self.amount.as_ref().map(|amount| amount.refund);
        let ours = self.out_refund_no == out_refund_no(refund)
            && self.transaction_id == refund.transaction_id
            && amount == Some(refund.amount_fen);
        let progress = match self.status.as_str() {
            "SUCCESS" => RefundProgress::Succeeded,
            "CLOSED" => RefundProgress::Closed,
            _ => RefundProgress::Working,
        };
        ours.then(|| RefundReply {
            progress,
            word: self.status.chars().take(64).collect(),
        })
    }
}

/// Asks for a refund. Repeated under the same number, it is answered with how far it is.
pub(super) async fn send(
    pay: &WechatPay,
    refund: &Refund,
    paid_fen: i64,
) -> Result<RefundReply, ProviderError> {
    let body = json!({
        "transaction_id": refund.transaction_id,
        "out_refund_no": out_refund_no(refund),
        "notify_url": pay.config.notify_url,
        "amount": {"refund": refund.amount_fen, "total": paid_fen, "currency": "CNY"},
    });
    let answer = pay
        .call(Method::POST, "/v3/refund/domestic/refunds", Some(&body))
        .await?;
    read(answer, refund)
}

/// Asks how far a refund is.
pub(super) async fn query(pay: &WechatPay, refund: &Refund) -> Result<RefundReply, ProviderError> {
    let path = format!("/v3/refund/domestic/refunds/{}", out_refund_no(refund));
    match pay.call(Method::GET, &path, None).await {
        Ok(answer) => read(answer, refund),
        Err(error) if error.code() == "RESOURCE_NOT_EXISTS" => Ok(RefundReply {
            progress: RefundProgress::Unknown,
            word: error.code().to_owned(),
        }),
        Err(error) => Err(error),
    }
}

fn read(answer: Value, refund: &Refund) -> Result<RefundReply, ProviderError> {
    let status: RefundStatus =
        serde_json::from_value(answer).map_err(|_| ProviderError::Unreadable)?;
    status.of(refund).ok_or(ProviderError::Unreadable)
}
