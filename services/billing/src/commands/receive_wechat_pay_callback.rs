use serde_json::json;

use super::{
    apply_payment::PaymentRefused,
    callback_answer::{CallbackAnswer, count, warn},
};
use crate::{
    app::App,
    domain::payment::{Applied, PaymentMismatch},
    error::Error,
    providers::{
        refund_of,
        wechat_pay::{Content, Notice, NoticeError, RefundStatus, SignatureError, Signed},
    },
    store::refunds,
};

/// Why a notice is not believed or not applied.
#[derive(Debug, thiserror::Error)]
enum NoticeRefused {
    #[error("the notice is not believed")]
    Signature(#[from] SignatureError),
    #[error("the notice cannot be read")]
    Notice(#[from] NoticeError),
    #[error("the notice is of another refund")]
    Refund,
    #[error("the payment is refused")]
    Payment(#[from] PaymentRefused),
}

impl NoticeRefused {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Signature(_) => "signature",
            Self::Notice(NoticeError::Kind) => "kind",
            Self::Notice(_) => "notice",
            Self::Refund => "refund",
            Self::Payment(refused) => refused.kind(),
        }
    }

    /// What may change by itself is worth a retry; what is forged is not.
    const fn http_status(&self) -> u16 {
        match self {
            Self::Signature(_) => 401,
            Self::Payment(PaymentRefused::Failed(_)) => 500,
            Self::Notice(_) | Self::Refund | Self::Payment(_) => 400,
        }
    }
}

impl From<Error> for NoticeRefused {
    fn from(error: Error) -> Self {
        Self::Payment(error.into())
    }
}

impl App {
    /// Verifies, decrypts and applies one notice of WeChat Pay; answers within the provider's 5 s:
    /// 204 when there is nothing to repeat, else `{"code":"FAIL","message":...}`.
    pub async fn receive_wechat_pay_callback(&self, signed: Signed<'_>) -> CallbackAnswer {
        match self.apply_wechat_notice(signed).await {
            Ok(outcome) => {
                count("wechat", outcome);
                CallbackAnswer {
                    http_status: 204,
                    body: Vec::new(),
                }
            }
            Err(refused) => {
                count("wechat", refused.kind());
                warn(refused.kind(), &refused);
                let body = json!({"code": "FAIL", "message": refused.to_string()});
                CallbackAnswer {
                    http_status: refused.http_status(),
                    body: body.to_string().into_bytes(),
                }
            }
        }
    }

    async fn apply_wechat_notice(&self, signed: Signed<'_>) -> Result<&'static str, NoticeRefused> {
        let wechat = &self.providers.wechat;
        wechat.verify_notice(signed).await?;
        match Notice::parse(signed.body)?.open(wechat.api_v3_key())? {
            Content::Payment(transaction) => {
                let payment = transaction.prove(wechat).map_err(PaymentRefused::from)?;
                let applied = self.apply_payment(&payment).await?;
                Ok(outcome(applied))
            }
            Content::Refund(status) => self.apply_refund_notice(&status).await,
        }
    }

    async fn apply_refund_notice(
        &self,
        status: &RefundStatus,
    ) -> Result<&'static str, NoticeRefused> {
        if status.mchid != self.providers.wechat.mchid() {
            return Err(PaymentRefused::from(PaymentMismatch::Merchant).into());
        }
        let (id, attempt) = refund_of(&status.out_refund_no).ok_or(NoticeRefused::Refund)?;
        let mut connection = self.pool.acquire().await.map_err(Error::from)?;
        let refund = refunds::find(&mut connection, id)
            .await
            .map_err(Error::from)?;
        drop(connection);
        let refund = refund.filter(|refund| refund.attempt == attempt);
        let refund = refund.ok_or(NoticeRefused::Refund)?;
        let reply = status.of(&refund).ok_or(NoticeRefused::Refund)?;
        let changed = self.apply_refund_reply(&refund, &reply).await?;
        Ok(if changed { "refunded" } else { "repeated" })
    }
}

/// For metrics.
pub(super) const fn outcome(applied: Applied) -> &'static str {
    match applied {
        Applied::Credited => "credited",
        Applied::Returned => "returned",
        Applied::Before => "repeated",
    }
}
