use super::{
    apply_payment::PaymentRefused,
    callback_answer::{CallbackAnswer, count, warn},
    receive_wechat_pay_callback::outcome,
};
use crate::{app::App, domain::payment::PaymentMismatch, providers::alipay::NoticeError};

/// Why a notice is not believed or not applied.
#[derive(Debug, thiserror::Error)]
enum NoticeRefused {
    #[error("orders are not offered through Alipay")]
    Unused,
    #[error("the notice is not believed")]
    Notice(#[from] NoticeError),
    #[error("the payment is refused")]
    Payment(#[from] PaymentRefused),
}

impl From<PaymentMismatch> for NoticeRefused {
    fn from(mismatch: PaymentMismatch) -> Self {
        Self::Payment(mismatch.into())
    }
}

impl NoticeRefused {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Notice(NoticeError::Signature) => "signature",
            Self::Notice(NoticeError::Certificate(_)) => "certificate",
            Self::Notice(NoticeError::Form) => "notice",
            Self::Payment(refused) => refused.kind(),
        }
    }

    const fn http_status(&self) -> u16 {
        match self {
            Self::Notice(NoticeError::Signature | NoticeError::Certificate(_)) => 401,
            Self::Payment(PaymentRefused::Failed(_)) => 500,
            Self::Unused | Self::Notice(NoticeError::Form) | Self::Payment(_) => 400,
        }
    }
}

impl App {
    /// Verifies and applies one notice of Alipay, a form: `success` when there is nothing to
    /// repeat, else `failure`. Its signature has no time and no nonce: an old notice proves again
    /// what it proved, and the payment's number says that it is known.
    pub async fn receive_alipay_callback(&self, body: &[u8]) -> CallbackAnswer {
        match self.apply_alipay_notice(body).await {
            Ok(outcome) => {
                count("alipay", outcome);
                CallbackAnswer {
                    http_status: 200,
                    body: b"success".to_vec(),
                }
            }
            Err(refused) => {
                count("alipay", refused.kind());
                warn(refused.kind(), &refused);
                CallbackAnswer {
                    http_status: refused.http_status(),
                    body: b"failure".to_vec(),
                }
            }
        }
    }

    async fn apply_alipay_notice(&self, body: &[u8]) -> Result<&'static str, NoticeRefused> {
        let alipay = self
            .providers
            .alipay
            .as_ref()
            .ok_or(NoticeRefused::Unused)?;
        let notice = alipay.verify_notice(body).await?;
        match notice.prove(alipay)? {
            Some(payment) => Ok(outcome(self.apply_payment(&payment).await?)),
            None => Ok("no payment"),
        }
    }
}
