use chrono::{NaiveDate, SubsecRound};
use serde::Deserialize;
use serde_json::{Value, json};
use wanwu_ids::OrderId;

use super::{
    Alipay, bill,
    client::{beijing, from_beijing},
    fen, refunds, yuan,
};
use crate::{
    domain::{
        payment::{PaymentMismatch, ProvedPayment, Provider},
        payment_channel::Method,
        reconciliation::Payment,
    },
    providers::{Offer, Payer, PaymentProvider, ProviderError, RefundReply, Trade, out_trade_no},
    store::refunds::Refund,
};

/// What the provider says about an order, after its signature was verified.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    out_trade_no: String,
    #[serde(default)]
    trade_no: String,
    #[serde(default)]
    trade_status: String,
    #[serde(default)]
    total_amount: String,
    #[serde(default)]
    send_pay_date: String,
}

#[tonic::async_trait]
impl PaymentProvider for Alipay {
    async fn offer(
        &self,
        offer: &Offer,
        method: Method,
        _: &Payer,
    ) -> Result<String, ProviderError> {
        let mut business = json!({
            "out_trade_no": offer.number,
            "total_amount": yuan(offer.amount_fen),
            "subject": offer.description,
            // The code of precreate makes the trade only when it is scanned: it ends with the
            // order, not some time after the scan.
            "time_expire": beijing(offer.expires_at.trunc_subsecs(0)),
        });
        let notify = [("notify_url", self.config.notify_url.as_str())];
        match method {
            Method::AlipayPrecreate => {
                let answer = self
                    .call("alipay.trade.precreate", &business, &notify)
                    .await?;
                let number = answer.get("out_trade_no").and_then(Value::as_str);
                if number != Some(&offer.number) {
                    return Err(ProviderError::Unreadable);
                }
                let code = answer.get("qr_code").and_then(Value::as_str);
                code.map(str::to_owned).ok_or(ProviderError::Unreadable)
            }
            Method::AlipayPage => {
                business["product_code"] = json!("FAST_INSTANT_TRADE_PAY");
                let parameters = self.signed("alipay.trade.page.pay", &business, &notify)?;
                Ok(self.address(&parameters).to_string())
            }
            Method::WechatNative | Method::WechatH5 | Method::WechatJsapi => {
                Err(ProviderError::Absent)
            }
        }
    }

    async fn query(&self, id: OrderId) -> Result<Trade, ProviderError> {
        let number = out_trade_no(id);
        let business = json!({"out_trade_no": number});
        let answer = match self.call("alipay.trade.query", &business, &[]).await {
            Ok(answer) => answer,
            Err(error) if error.code() == "ACQ.TRADE_NOT_EXIST" => {
                let proved = error.is_proved();
                return Ok(Trade::Unknown { proved });
            }
            Err(error) => return Err(error),
        };
        let answer: Answer =
            serde_json::from_value(answer).map_err(|_| ProviderError::Unreadable)?;
        // The signature does not cover the question: an answer about another order proves nothing.
        if answer.out_trade_no != number {
            return Err(ProviderError::Unreadable);
        }
        match answer.trade_status.as_str() {
            "TRADE_SUCCESS" | "TRADE_FINISHED" => {
                if answer.trade_no.is_empty() || answer.trade_no.len() > 64 {
                    return Err(PaymentMismatch::Transaction.into());
                }
                Ok(Trade::Paid(ProvedPayment {
                    provider: Provider::Alipay,
                    order_id: id,
                    transaction_id: answer.trade_no,
                    amount_fen: fen(&answer.total_amount).ok_or(PaymentMismatch::Amount)?,
                    paid_at: from_beijing(&answer.send_pay_date),
                }))
            }
            "TRADE_CLOSED" => Ok(Trade::Closed),
            _ => Ok(Trade::Payable),
        }
    }

    async fn close(&self, id: OrderId) -> Result<(), ProviderError> {
        let business = json!({"out_trade_no": out_trade_no(id)});
        match self.call("alipay.trade.close", &business, &[]).await {
            Ok(_) => Ok(()),
            // The query that follows says what it is.
            Err(error)
                if matches!(
                    error.code(),
                    "ACQ.TRADE_NOT_EXIST"
                        | "ACQ.TRADE_STATUS_ERROR"
                        | "ACQ.REASON_TRADE_STATUS_INVALID"
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn refund(&self, refund: &Refund, _: i64) -> Result<RefundReply, ProviderError> {
        refunds::send(self, refund).await
    }

    async fn query_refund(&self, refund: &Refund) -> Result<RefundReply, ProviderError> {
        refunds::query(self, refund).await
    }

    async fn bill(&self, day: NaiveDate) -> Result<Option<Vec<Payment>>, ProviderError> {
        bill::fetch(self, day).await
    }
}
