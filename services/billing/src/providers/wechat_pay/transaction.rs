use serde::Deserialize;

use super::WechatPay;
use crate::{
    domain::payment::{PaymentMismatch, ProvedPayment, Provider},
    providers::order_of,
};

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

impl Transaction {
    /// The payment, when merchant, app, state, number and currency are right.
    pub fn prove(&self, merchant: &WechatPay) -> Result<ProvedPayment, PaymentMismatch> {
        if self.mchid != merchant.mchid() {
            return Err(PaymentMismatch::Merchant);
        }
        if self.appid != merchant.appid() {
            return Err(PaymentMismatch::App);
        }
        if self.trade_state != "SUCCESS" {
            return Err(PaymentMismatch::State);
        }
        if self.transaction_id.is_empty() || self.transaction_id.len() > 64 {
            return Err(PaymentMismatch::Transaction);
        }
        let order_id = order_of(&self.out_trade_no)?;
        let amount = self.amount.as_ref().ok_or(PaymentMismatch::Amount)?;
        if amount.currency != "CNY" {
            return Err(PaymentMismatch::Amount);
        }
        Ok(ProvedPayment {
            provider: Provider::Wechat,
            order_id,
            transaction_id: self.transaction_id.clone(),
            amount_fen: amount.total,
            paid_at: self.success_time,
        })
    }
}
