use chrono::{NaiveDate, SecondsFormat};
use reqwest::Method as Http;
use serde_json::{Value, json};
use wanwu_ids::OrderId;

use super::{Transaction, WechatPay, bill, refunds};
use crate::{
    domain::{payment_channel::Method, reconciliation::Payment},
    providers::{Offer, Payer, PaymentProvider, ProviderError, RefundReply, Trade, out_trade_no},
    store::refunds::Refund,
};

#[tonic::async_trait]
impl PaymentProvider for WechatPay {
    async fn offer(
        &self,
        offer: &Offer,
        method: Method,
        payer: &Payer,
    ) -> Result<String, ProviderError> {
        let mut body = json!({
            "appid": self.config.appid,
            "mchid": self.config.mchid,
            "description": offer.description,
            "out_trade_no": offer.number,
            "time_expire": offer.expires_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            "notify_url": self.config.notify_url,
            "amount": {"total": offer.amount_fen, "currency": "CNY"},
        });
        let (path, answers) = match method {
            Method::WechatNative => ("/v3/pay/transactions/native", "code_url"),
            Method::WechatH5 => {
                let address = payer.client_ip.ok_or(ProviderError::Payer)?;
                body["scene_info"] = json!({
                    "payer_client_ip": address,
                    "h5_info": {"type": "Wap"},
                });
                ("/v3/pay/transactions/h5", "h5_url")
            }
            Method::WechatJsapi => {
                let openid = payer.openid.as_ref().ok_or(ProviderError::Payer)?;
                body["payer"] = json!({"openid": openid});
                ("/v3/pay/transactions/jsapi", "prepay_id")
            }
            Method::AlipayPrecreate | Method::AlipayPage => return Err(ProviderError::Absent),
        };
        let answer = self.call(Http::POST, path, Some(&body)).await?;
        let given = answer.get(answers).and_then(Value::as_str);
        let given = given.ok_or(ProviderError::Unreadable)?;
        match method {
            Method::WechatJsapi => self.jsapi(given),
            _ => Ok(given.to_owned()),
        }
    }

    async fn query(&self, id: OrderId) -> Result<Trade, ProviderError> {
        let number = out_trade_no(id);
        let path = format!(
            "/v3/pay/transactions/out-trade-no/{number}?mchid={}",
            self.config.mchid
        );
        let answer = match self.call(Http::GET, &path, None).await {
            Ok(answer) => answer,
            Err(error) if is_unknown(&error) => {
                let proved = error.is_proved();
                return Ok(Trade::Unknown { proved });
            }
            Err(error) => return Err(error),
        };
        let transaction: Transaction =
            serde_json::from_value(answer).map_err(|_| ProviderError::Unreadable)?;
        // The signature does not cover the question: an answer about another order proves nothing.
        if transaction.out_trade_no != number {
            return Err(ProviderError::Unreadable);
        }
        Ok(match transaction.trade_state.as_str() {
            "SUCCESS" => Trade::Paid(transaction.prove(self)?),
            "CLOSED" | "REVOKED" => Trade::Closed,
            _ => Trade::Payable,
        })
    }

    async fn close(&self, id: OrderId) -> Result<(), ProviderError> {
        let path = format!(
            "/v3/pay/transactions/out-trade-no/{}/close",
            out_trade_no(id)
        );
        let body = json!({"mchid": self.config.mchid});
        match self.call(Http::POST, &path, Some(&body)).await {
            Ok(_) => Ok(()),
            // The query that follows says what it is.
            Err(error) if is_unknown(&error) || error.code() == "ORDERPAID" => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn refund(&self, refund: &Refund, paid_fen: i64) -> Result<RefundReply, ProviderError> {
        refunds::send(self, refund, paid_fen).await
    }

    async fn query_refund(&self, refund: &Refund) -> Result<RefundReply, ProviderError> {
        refunds::query(self, refund).await
    }

    async fn bill(&self, day: NaiveDate) -> Result<Option<Vec<Payment>>, ProviderError> {
        bill::fetch(self, day).await
    }
}

fn is_unknown(error: &ProviderError) -> bool {
    matches!(error.code(), "ORDER_NOT_EXIST" | "ORDERNOTEXIST")
}
