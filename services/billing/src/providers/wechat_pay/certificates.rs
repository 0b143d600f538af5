//! The platform's certificates, which change every few years: downloaded, decrypted with the APIv3
//! key, and believed with the signature of one that is known.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;

use super::{
    Platform, SignatureError, WechatPay,
    client::{MAX_ANSWER, refused, signed},
    notice::Resource,
};
use crate::providers::{ProviderError, read, rsa::Certificate};

/// How long a notice waits for certificates: its provider wants an answer within 5 s.
const NOTICE_WAITS: Duration = Duration::from_secs(3);
/// How often notices under unknown serials may ask for certificates: anybody can send one.
const AT_MOST_EVERY: chrono::Duration = chrono::Duration::seconds(60);

#[derive(Deserialize)]
struct Answer {
    data: Vec<Sealed>,
}

#[derive(Deserialize)]
struct Sealed {
    serial_no: String,
    effective_time: DateTime<Utc>,
    expire_time: DateTime<Utc>,
    encrypt_certificate: Resource,
}

impl WechatPay {
    /// Takes keys that changed: those in the configured files, and the certificates that the
    /// platform offers now.
    pub async fn refresh_platform(&self) -> Result<(), ProviderError> {
        self.platform.read(&self.config)?;
        if !self.config.downloads_certificates() {
            return Ok(());
        }
        let now = self.clock.now();
        let response = self
            .send(Method::GET, "/v3/certificates", String::new())
            .await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read(response, MAX_ANSWER).await?;
        if !status.is_success() {
            return Err(refused(status.as_u16(), &body, false));
        }
        let certificates = self.open_certificates(&body)?;
        if self.platform.is_known(now) {
            self.platform.verify(signed(&headers, &body), now)?;
        } else {
            // The first ones: whoever sealed them knows the APIv3 key, and signed with one of them.
            let offered = Platform::default();
            offered.learn(certificates.clone(), now);
            offered.verify(signed(&headers, &body), now)?;
        }
        self.platform.learn(certificates, now);
        Ok(())
    }

    /// As `verify`; asks for certificates where the serial is not known.
    pub async fn verify_notice(&self, notice: super::Signed<'_>) -> Result<(), SignatureError> {
        match self.verify(notice) {
            Err(SignatureError::Serial) if self.may_ask() => {
                let asked = tokio::time::timeout(NOTICE_WAITS, self.refresh_platform()).await;
                if !matches!(asked, Ok(Ok(()))) {
                    return Err(SignatureError::Serial);
                }
                self.verify(notice)
            }
            other => other,
        }
    }

    fn may_ask(&self) -> bool {
        let now = self.clock.now();
        let mut asked = self.asked_for_certificates.lock();
        let may = self.config.downloads_certificates()
            && asked.is_none_or(|before| now - before >= AT_MOST_EVERY);
        if may {
            *asked = Some(now);
        }
        may
    }

    fn open_certificates(&self, body: &[u8]) -> Result<Vec<Certificate>, ProviderError> {
        let answer: Answer = serde_json::from_slice(body).map_err(|_| ProviderError::Unreadable)?;
        let open = |sealed: Sealed| {
            let pem = sealed.encrypt_certificate.open(self.api_v3_key()).ok()?;
            let certificate = Certificate::from_pem(&pem).ok()?;
            // The narrower of what the answer and the certificate say.
            let from = sealed.effective_time.timestamp();
            let until = sealed.expire_time.timestamp();
            let from = from.max(*certificate.valid.start());
            let until = until.min(*certificate.valid.end());
            let named = sealed.serial_no.eq_ignore_ascii_case(&certificate.serial);
            named.then_some(Certificate {
                valid: from..=until,
                ..certificate
            })
        };
        let certificates: Option<Vec<_>> = answer.data.into_iter().map(open).collect();
        certificates.ok_or(ProviderError::Unreadable)
    }
}
