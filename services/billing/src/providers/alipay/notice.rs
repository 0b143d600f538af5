use std::collections::BTreeMap;

use super::{Alipay, client::from_beijing, content, fen, trust::Distrust};
use crate::{
    domain::payment::{PaymentMismatch, ProvedPayment, Provider},
    providers::order_of,
};

/// The most fields that a notice has.
const MAX_FIELDS: usize = 100;

/// A notice that Alipay signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice(BTreeMap<String, String>);

/// The notice is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// It is not the form of a notice.
    #[error("the body is not a notice")]
    Form,
    /// The signature is absent, of another kind, or wrong.
    #[error("the signature is wrong or absent")]
    Signature,
    /// The certificate that it names (by this number; empty: it names none) is not known, or not
    /// valid now.
    #[error("the certificate of the signature is not known or not valid")]
    Certificate(String),
}

impl Notice {
    /// Reads a notice and verifies its signature.
    pub fn verify(body: &[u8], alipay: &Alipay) -> Result<Self, NoticeError> {
        let mut fields = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(body) {
            let twice = fields.insert(name.into_owned(), value.into_owned());
            if twice.is_some() || fields.len() > MAX_FIELDS {
                return Err(NoticeError::Form);
            }
        }
        let signature = fields.remove("sign").unwrap_or_default();
        let kind = fields.remove("sign_type").unwrap_or_default();
        if kind != "RSA2" || signature.is_empty() {
            return Err(NoticeError::Signature);
        }
        let number = fields.get("alipay_cert_sn").map(String::as_str);
        let message = content(&fields, true);
        let verified =
            alipay
                .trust
                .verify_notice(number, message.as_bytes(), &signature, alipay.clock.now());
        match verified {
            Ok(()) => Ok(Self(fields)),
            Err(Distrust::Wrong) => Err(NoticeError::Signature),
            Err(Distrust::Number) => Err(NoticeError::Certificate(
                number.unwrap_or_default().to_owned(),
            )),
        }
    }

    fn field(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The payment that it tells of; `None`: it tells of something else, such as a closed trade.
    pub fn prove(&self, alipay: &Alipay) -> Result<Option<ProvedPayment>, PaymentMismatch> {
        if self.field("app_id") != alipay.app_id() {
            return Err(PaymentMismatch::App);
        }
        if self.field("seller_id") != alipay.seller_id() {
            return Err(PaymentMismatch::Merchant);
        }
        match self.field("trade_status") {
            "TRADE_SUCCESS" | "TRADE_FINISHED" => {}
            "WAIT_BUYER_PAY" | "TRADE_CLOSED" => return Ok(None),
            _ => return Err(PaymentMismatch::State),
        }
        let transaction_id = self.field("trade_no");
        if transaction_id.is_empty() || transaction_id.len() > 64 {
            return Err(PaymentMismatch::Transaction);
        }
        Ok(Some(ProvedPayment {
            provider: Provider::Alipay,
            order_id: order_of(self.field("out_trade_no"))?,
            transaction_id: transaction_id.to_owned(),
            amount_fen: fen(self.field("total_amount")).ok_or(PaymentMismatch::Amount)?,
            paid_at: from_beijing(self.field("gmt_payment")),
        }))
    }
}
