//! Alipay's certificate changes: an answer or a notice names one that is not known, Alipay offers it
//! under its number, and it is believed when a configured root stands above it.

use std::time::Duration;

use serde_json::json;

use super::{Alipay, Notice, NoticeError, trust::Distrust};
use crate::providers::ProviderError;

/// How long an answer or a notice waits for a certificate.
const WAITS: Duration = Duration::from_secs(3);

impl Alipay {
    /// Reads and verifies a notice; asks for the certificate that it names where it is not known.
    pub async fn verify_notice(&self, body: &[u8]) -> Result<Notice, NoticeError> {
        match Notice::verify(body, self) {
            Err(NoticeError::Certificate(number)) if self.learn(&number).await => {
                Notice::verify(body, self)
            }
            other => other,
        }
    }

    /// Asks for the certificate of this number, once a minute at most; whether it is known now.
    pub(super) async fn learn(&self, number: &str) -> bool {
        let Some(certificates) = self.trust.certificates() else {
            return false;
        };
        if !certificates.may_ask(number, self.clock.now()) {
            return false;
        }
        let learnt = match tokio::time::timeout(WAITS, self.download_certificate(number)).await {
            Ok(learnt) => learnt,
            Err(_) => Err(ProviderError::Signature(Box::new(Distrust::Number))),
        };
        if let Err(error) = &learnt {
            let error: &dyn std::error::Error = error;
            tracing::warn!(number, error, "a certificate of Alipay is not believed");
        }
        learnt.is_ok()
    }

    async fn download_certificate(&self, number: &str) -> Result<(), ProviderError> {
        let business = json!({"alipay_cert_sn": number});
        let method = "alipay.open.app.alipaycert.download";
        let reply = self.ask(method, &business, &[]).await?;
        match self.trust.certificates() {
            Some(certificates) => certificates.learn(number, &reply),
            None => Err(ProviderError::Absent),
        }
    }
}
