use serde::Deserialize;
use serde_json::json;

use super::{Alipay, fen, yuan};
use crate::{
    providers::{ProviderError, RefundProgress, RefundReply, out_refund_no},
    store::refunds::Refund,
};

#[derive(Debug, Deserialize)]
struct Sent {
    #[serde(default)]
    trade_no: String,
    #[serde(default)]
    fund_change: String,
}

#[derive(Debug, Deserialize)]
struct Status {
    #[serde(default)]
    trade_no: String,
    #[serde(default)]
    out_request_no: String,
    #[serde(default)]
    refund_amount: String,
    #[serde(default)]
    refund_status: String,
}

/// Asks for a refund. Repeated under the same number it moves nothing; then a question says what
/// became of it.
pub(super) async fn send(alipay: &Alipay, refund: &Refund) -> Result<RefundReply, ProviderError> {
    let business = json!({
        "trade_no": refund.transaction_id,
        "refund_amount": yuan(refund.amount_fen),
        "out_request_no": out_refund_no(refund),
    });
    let answer = alipay.call("alipay.trade.refund", &business, &[]).await?;
    let sent: Sent = serde_json::from_value(answer).map_err(|_| ProviderError::Unreadable)?;
    if sent.trade_no != refund.transaction_id {
        return Err(ProviderError::Unreadable);
    }
    if sent.fund_change == "Y" {
        return Ok(RefundReply {
            progress: RefundProgress::Succeeded,
            word: "REFUND_SUCCESS".to_owned(),
        });
    }
    query(alipay, refund).await
}

/// Asks how far a refund is.
pub(super) async fn query(alipay: &Alipay, refund: &Refund) -> Result<RefundReply, ProviderError> {
    let number = out_refund_no(refund);
    let business = json!({"trade_no": refund.transaction_id, "out_request_no": number});
    let method = "alipay.trade.fastpay.refund.query";
    let answer = alipay.call(method, &business, &[]).await?;
    let status: Status = serde_json::from_value(answer).map_err(|_| ProviderError::Unreadable)?;
    if status.refund_status.is_empty() {
        // An answer without a state: there is no such refund.
        return Ok(RefundReply {
            progress: RefundProgress::Unknown,
            word: String::new(),
        });
    }
    let ours = status.trade_no == refund.transaction_id
        && status.out_request_no == number
        && fen(&status.refund_amount) == Some(refund.amount_fen);
    if !ours {
        return Err(ProviderError::Unreadable);
    }
    let progress = match status.refund_status.as_str() {
        "REFUND_SUCCESS" => RefundProgress::Succeeded,
        _ => RefundProgress::Working,
    };
    Ok(RefundReply {
        progress,
        word: status.refund_status.chars().take(64).collect(),
    })
}
