use std::{collections::HashMap, time::Duration};

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
};
use chrono::SecondsFormat;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;
use uuid::Uuid;
use wanwu_clock::{SharedClock, SharedEntropy};
use wanwu_personal::Phone;

/// The signature's name (Alibaba Cloud, API signature V3).
const ALGORITHM: &str = "ACS3-HMAC-SHA256";
const ACTION: &str = "SendSms";
const VERSION: &str = "2017-05-25";
/// SHA-256 of nothing: the parameters are in the query, the body is empty.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// The headers that are signed, in their order.
const SIGNED_HEADERS: &str = "host;x-acs-action;x-acs-content-sha256;x-acs-date;\
                              x-acs-signature-nonce;x-acs-version";

/// Short messages by Alibaba Cloud (Dysmsapi).
pub struct AlibabaSms {
    http: reqwest::Client,
    base: Url,
    access_key_id: String,
    access_key_secret: SecretString,
    sign_name: String,
    clock: SharedClock,
    entropy: SharedEntropy,
}

/// A message was not taken by the provider.
#[derive(Debug, thiserror::Error)]
pub enum SmsError {
    /// No answer in time.
    #[error("the SMS provider did not answer")]
    Silent(#[source] reqwest::Error),
    /// It refused; the code is the provider's.
    #[error("the SMS provider refused: {0}")]
    Refused(String),
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Code", default)]
    code: String,
}

/// How the provider is reached.
pub struct AlibabaAccess {
    /// Where it answers.
    pub base: Url,
    /// Our access key.
    pub access_key_id: String,
    /// Its secret.
    pub access_key_secret: SecretString,
    /// The signature that messages carry.
    pub sign_name: String,
}

impl AlibabaSms {
    /// Speaks to the provider.
    pub fn new(
        access: AlibabaAccess,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<Self, SmsError> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .connect_timeout(Duration::from_secs(2))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(SmsError::Silent)?;
        let AlibabaAccess {
            base,
            access_key_id,
            access_key_secret,
            sign_name,
        } = access;
        Ok(Self {
            http,
            base,
            access_key_id,
            access_key_secret,
            sign_name,
            clock,
            entropy,
        })
    }

    /// Sends a message made from a template of the provider. `id` is our number of the message: the
    /// provider keeps it with the message and shows it in its receipts, but takes the same one again.
    pub async fn send(
        &self,
        id: Uuid,
        phone: &Phone,
        template: &str,
        params: &HashMap<String, String>,
    ) -> Result<(), SmsError> {
        let params = serde_json::to_string(params).unwrap_or_default();
        // Sorted by name, as the signature wants them.
        let query = [
            ("OutId", id.to_string().as_str()),
            ("PhoneNumbers", phone.expose()),
            ("SignName", &self.sign_name),
            ("TemplateCode", template),
            ("TemplateParam", &params),
        ]
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .join("&");

        let mut address = self.base.clone();
        address.set_query(Some(&query));
        let host = match (self.base.host_str(), self.base.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let date = self.clock.now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut chance = [0; 16];
        self.entropy.fill(&mut chance);
        let nonce = hex::encode(chance);
        let authorization = self.authorization(&query, &host, &date, &nonce);
        let response = self
            .http
            .post(address)
            .header("x-acs-action", ACTION)
            .header("x-acs-version", VERSION)
            .header("x-acs-date", &date)
            .header("x-acs-signature-nonce", &nonce)
            .header("x-acs-content-sha256", EMPTY_SHA256)
            .header("authorization", authorization)
            .send()
            .await
            // The address holds the number.
            .map_err(|error| SmsError::Silent(error.without_url()))?;
        let status = response.status();
        let answer: Answer = response
            .json()
            .await
            .map_err(|_| SmsError::Refused(format!("status {}", status.as_u16())))?;
        if status.is_success() && answer.code == "OK" {
            Ok(())
        } else {
            Err(SmsError::Refused(answer.code.chars().take(64).collect()))
        }
    }

    fn authorization(&self, query: &str, host: &str, date: &str, nonce: &str) -> String {
        let canonical = format!(
            "POST\n/\n{query}\nhost:{host}\nx-acs-action:{ACTION}\n\
             x-acs-content-sha256:{EMPTY_SHA256}\nx-acs-date:{date}\n\
             x-acs-signature-nonce:{nonce}\nx-acs-version:{VERSION}\n\n\
             {SIGNED_HEADERS}\n{EMPTY_SHA256}"
        );
        let hashed = hex::encode(digest(&SHA256, canonical.as_bytes()));
        let key = hmac::Key::new(
            hmac::HMAC_SHA256,
            self.access_key_secret.expose_secret().as_bytes(),
        );
        let signature = hex::encode(hmac::sign(
            &key,
            format!("{ALGORITHM}\n{hashed}").as_bytes(),
        ));
        format!(
            "{ALGORITHM} Credential={},SignedHeaders={SIGNED_HEADERS},Signature={signature}",
            self.access_key_id
        )
    }
}

/// Percent-encodes as RFC 3986 says: all but letters, digits, `-`, `_`, `.` and `~`.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn everything_but_the_unreserved_is_encoded() {
        assert_eq!(encode("a-Z_0.~"), "a-Z_0.~");
        assert_eq!(
            encode("{\"code\":\"1 2\"}"),
            "%7B%22code%22%3A%221%202%22%7D"
        );
        assert_eq!(encode("万物"), "%E4%B8%87%E7%89%A9");
    }
}
