//! The outside: payment providers. Each speaks its provider's protocol and believes only what the
//! provider signed; what it answers is the same for all.

pub mod alipay;
pub mod rsa;
pub mod wechat_pay;

use std::{net::IpAddr, sync::Arc};

use chrono::{DateTime, NaiveDate, Utc};
use wanwu_ids::{OrderId, RefundId};

use crate::{
    domain::{
        payment::{PaymentMismatch, ProvedPayment, Provider},
        payment_channel::Method,
        reconciliation::Payment,
    },
    error::Error,
    store::{orders::Order, refunds::Refund},
};
use {alipay::Alipay, wechat_pay::WechatPay};

/// What the payer of a top-up reads at the provider.
const SUBJECT: &str = "万物账户充值";

/// All that a provider is told of an order: its number, a description, its amount, and until when
/// it can be paid (obligations T3.3.3b, P2.1.1e.3). Adapters see nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Our number of the order.
    pub number: String,
    /// What the payer reads.
    pub description: String,
    /// In fen.
    pub amount_fen: i64,
    /// Until when it can be paid.
    pub expires_at: DateTime<Utc>,
}

impl Offer {
    /// What is told of an order; `title`: of what is ordered, unless it is credit.
    #[must_use]
    pub fn of(order: &Order, title: Option<String>) -> Self {
        Self {
            number: out_trade_no(order.order_id),
            description: title.unwrap_or_else(|| SUBJECT.to_owned()),
            amount_fen: order.amount_fen,
            expires_at: order.expires_at,
        }
    }
}

/// What a provider asks of the payer before it opens its page: handed on once, kept nowhere.
#[derive(Clone, Default)]
pub struct Payer {
    /// The network address of the payer's phone.
    pub client_ip: Option<IpAddr>,
    /// Who the payer is to the app inside WeChat.
    pub openid: Option<String>,
}

/// What a provider says about an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trade {
    /// It was paid.
    Paid(ProvedPayment),
    /// Nobody paid yet.
    Payable,
    /// Nobody can pay any more.
    Closed,
    /// The provider knows no such order.
    Unknown {
        /// The answer was signed.
        proved: bool,
    },
}

/// What a provider says about a refund, in its own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundReply {
    /// How far it is.
    pub progress: RefundProgress,
    /// The provider's word, such as `PROCESSING`; at most 64 characters.
    pub word: String,
}

/// How far a refund is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundProgress {
    /// The payer has it.
    Succeeded,
    /// The provider works on it, or wants a person to (`ABNORMAL`).
    Working,
    /// It will not happen.
    Closed,
    /// The provider knows no such refund.
    Unknown,
}

/// The provider's side could not be done or learnt.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// No answer in time.
    #[error("the provider did not answer")]
    Silent(#[source] reqwest::Error),
    /// An answer that refuses.
    #[error("the provider answered {status} {code}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The provider's code, such as `ORDER_NOT_EXIST`.
        code: String,
        /// The answer was signed.
        proved: bool,
    },
    /// An answer that cannot be believed, or a key that cannot be used.
    #[error("the provider's answer is not signed by the provider")]
    Signature(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Signed, but not what was asked for.
    #[error("the provider's answer cannot be read")]
    Unreadable,
    /// Signed, and about a payment that is not ours.
    #[error("the provider's answer is about another payment")]
    Mismatch(#[from] PaymentMismatch),
    /// The provider is not configured.
    #[error("the provider is not configured")]
    Absent,
    /// The method needs something of the payer that was not said.
    #[error("the provider asks for something of the payer")]
    Payer,
}

impl ProviderError {
    /// The provider's code of a refusal.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            _ => "",
        }
    }

    /// The refusal was signed.
    #[must_use]
    pub const fn is_proved(&self) -> bool {
        matches!(self, Self::Refused { proved: true, .. })
    }
}

/// What billing wants of a payment provider. Every operation can be repeated.
#[tonic::async_trait]
pub trait PaymentProvider: Send + Sync {
    /// Asks for what the payer scans or opens.
    async fn offer(
        &self,
        offer: &Offer,
        method: Method,
        payer: &Payer,
    ) -> Result<String, ProviderError>;
    /// What the provider says about an order.
    async fn query(&self, id: OrderId) -> Result<Trade, ProviderError>;
    /// Closes an order, where it can be closed; whether it is, a query tells.
    async fn close(&self, id: OrderId) -> Result<(), ProviderError>;
    /// Gives money back; the same number is given back once.
    async fn refund(&self, refund: &Refund, paid_fen: i64) -> Result<RefundReply, ProviderError>;
    /// What the provider says about a refund.
    async fn query_refund(&self, refund: &Refund) -> Result<RefundReply, ProviderError>;
    /// The payments of a day in China, as the provider bills them; `None`: it has no such bill, or
    /// none yet.
    async fn bill(&self, day: NaiveDate) -> Result<Option<Vec<Payment>>, ProviderError>;
}

/// The providers of this service.
pub struct Providers {
    /// WeChat Pay.
    pub wechat: Arc<WechatPay>,
    /// Alipay, where it is configured.
    pub alipay: Option<Arc<Alipay>>,
}

impl Providers {
    /// Those that are configured.
    #[must_use]
    pub fn configured(&self) -> Vec<Provider> {
        let mut all = vec![Provider::Wechat];
        all.extend(self.alipay.as_ref().map(|_| Provider::Alipay));
        all
    }

    /// Where the provider's user agreement and privacy policy are.
    #[must_use]
    pub fn legal_urls(&self, provider: Provider) -> &[String] {
        match (provider, &self.alipay) {
            (Provider::Wechat, _) => self.wechat.legal_urls(),
            (Provider::Alipay, Some(alipay)) => alipay.legal_urls(),
            (Provider::Alipay, None) => &[],
        }
    }

    /// The provider; an error when it is not configured.
    pub fn get(&self, provider: Provider) -> Result<&dyn PaymentProvider, Error> {
        match (provider, &self.alipay) {
            (Provider::Wechat, _) => Ok(&*self.wechat),
            (Provider::Alipay, Some(alipay)) => Ok(&**alipay),
            (Provider::Alipay, None) => Err(ProviderError::Absent.into()),
        }
    }
}

/// Our number of an order at its provider: at most 32 letters and digits.
#[must_use]
pub fn out_trade_no(id: OrderId) -> String {
    id.uuid().simple().to_string()
}

/// The order that a number names; only the spelling that we gave the provider.
///
/// # Errors
/// When it is no number of ours.
pub fn order_of(number: &str) -> Result<OrderId, PaymentMismatch> {
    let uuid = uuid::Uuid::try_parse(number).map_err(|_| PaymentMismatch::Order)?;
    let id = OrderId::from_uuid(uuid);
    if out_trade_no(id) == number {
        Ok(id)
    } else {
        Err(PaymentMismatch::Order)
    }
}

/// Our number of a refund at its provider: the same for each repetition, another for each new
/// attempt. Letters and digits, at most 64.
#[must_use]
pub fn out_refund_no(refund: &Refund) -> String {
    format!("{}R{}", refund.refund_id.uuid().simple(), refund.attempt)
}

/// The refund and the attempt that a number names.
#[must_use]
pub fn refund_of(number: &str) -> Option<(RefundId, u32)> {
    let (id, attempt) = number.split_once('R')?;
    let uuid = uuid::Uuid::try_parse(id).ok()?;
    Some((RefundId::from_uuid(uuid), attempt.parse().ok()?))
}

/// The longest bill that is read: about a hundred thousand payments.
const MAX_BILL: usize = 32 << 20;
/// How long a bill may take.
const BILL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// The body of an answer, at most `max` bytes.
async fn read(mut response: reqwest::Response, max: usize) -> Result<Vec<u8>, ProviderError> {
    let silent = |error: reqwest::Error| ProviderError::Silent(error.without_url());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(silent)? {
        if body.len() + chunk.len() > max {
            return Err(ProviderError::Unreadable);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
