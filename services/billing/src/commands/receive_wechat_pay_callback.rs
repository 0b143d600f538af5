use serde_json::json;

use super::apply_payment::{Applied, PaymentRefused};
use crate::{
    app::App,
    providers::wechat_pay::{Notice, NoticeError, SignatureError, Signed},
};

/// The HTTP answer that the provider gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackAnswer {
    /// 204 when the payment is credited, now or before.
    pub http_status: u16,
    /// `{"code":"FAIL","message":...}`, or empty.
    pub body: Vec<u8>,
}

/// Why a notice is not believed or not applied.
#[derive(Debug, thiserror::Error)]
enum NoticeRefused {
    #[error("the notice is not believed")]
    Signature(#[from] SignatureError),
    #[error("the notice cannot be read")]
    Notice(#[from] NoticeError),
    #[error("the notice is of another kind")]
    Kind,
    #[error("the payment is refused")]
    Payment(#[from] PaymentRefused),
}

impl NoticeRefused {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Signature(_) => "signature",
            Self::Notice(_) => "notice",
            Self::Kind => "kind",
            Self::Payment(refused) => refused.kind(),
        }
    }

    /// What may change by itself is worth a retry; what is forged is not.
    const fn http_status(&self) -> u16 {
        match self {
            Self::Signature(_) => 401,
            Self::Payment(PaymentRefused::Failed(_)) => 500,
            Self::Notice(_) | Self::Kind | Self::Payment(_) => 400,
        }
    }
}

impl App {
    /// Verifies, decrypts and applies one notice of WeChat Pay; answers within the provider's 5 s.
    pub async fn receive_wechat_pay_callback(&self, signed: Signed<'_>) -> CallbackAnswer {
        match self.apply_notice(signed).await {
            Ok(applied) => {
                let outcome = if applied == Applied::Now {
                    "credited"
                } else {
                    "repeated"
                };
                count(outcome);
                CallbackAnswer {
                    http_status: 204,
                    body: Vec::new(),
                }
            }
            Err(refused) => {
                count(refused.kind());
                tracing::warn!(
                    reason = refused.kind(),
                    error = &refused as &dyn std::error::Error,
                    "a payment notice was refused"
                );
                let body = json!({"code": "FAIL", "message": refused.to_string()});
                CallbackAnswer {
                    http_status: refused.http_status(),
                    body: body.to_string().into_bytes(),
                }
            }
        }
    }

    async fn apply_notice(&self, signed: Signed<'_>) -> Result<Applied, NoticeRefused> {
        self.wechat.verify(signed)?;
        let notice = Notice::parse(signed.body)?;
        if notice.event_type != "TRANSACTION.SUCCESS" {
            return Err(NoticeRefused::Kind);
        }
        let transaction = notice.open(self.wechat.api_v3_key())?;
        Ok(self.apply_payment(&transaction).await?)
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("wanwu_payment_callbacks_total", "outcome" => outcome).increment(1);
}
