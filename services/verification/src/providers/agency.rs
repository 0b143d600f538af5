use std::time::Duration;

use aws_lc_rs::hmac;
use chrono::DateTime;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;
use wanwu_clock::SharedClock;
use wanwu_ids::VerificationId;
use wanwu_personal::{PersonName, ResidentId};

use crate::domain::verification::Answer;

/// How far the agency's clock may be from ours.
const CLOCK_SKEW_SECONDS: u64 = 300;
const APP: &str = "x-agency-app";
const TIMESTAMP: &str = "x-agency-timestamp";
const SIGNATURE: &str = "x-agency-signature";

/// The real-name agency: one HTTP request a check, signed on both sides with HMAC-SHA-256 over
/// `timestamp LF body`.
pub struct Agency {
    http: reqwest::Client,
    address: Url,
    app_id: String,
    secret: SecretString,
    clock: SharedClock,
}

/// The agency did not answer, or not in a way that can be believed: nothing is decided, ask again.
#[derive(Debug, thiserror::Error)]
pub enum AgencyError {
    /// No answer in time.
    #[error("the agency did not answer")]
    Silent(#[source] reqwest::Error),
    /// An answer that is no decision.
    #[error("the agency answered with status {0}")]
    Refused(u16),
    /// The signature or its time is wrong.
    #[error("the agency's answer is not signed by the agency")]
    Forged,
    /// Signed, but not an answer to this check.
    #[error("the agency's answer cannot be read")]
    Unreadable,
}

#[derive(Serialize)]
struct Check<'a> {
    request_id: String,
    name: &'a str,
    id_number: &'a str,
}

#[derive(Deserialize)]
struct CheckAnswer {
    request_id: String,
    result: String,
}

impl Agency {
    /// Speaks to the agency at `base`, as `app_id`, waiting at most `timeout`.
    pub fn new(
        base: &Url,
        app_id: String,
        secret: SecretString,
        timeout: Duration,
        clock: SharedClock,
    ) -> Result<Self, AgencyError> {
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(AgencyError::Silent)?;
        let address = base
            .join("/v1/identity-checks")
            .map_err(|_| AgencyError::Unreadable)?;
        Ok(Self {
            http,
            address,
            app_id,
            secret,
            clock,
        })
    }

    /// Asks whether name and number belong together. The same check may be asked again: the agency
    /// answers the same and counts it once.
    pub async fn ask(
        &self,
        id: VerificationId,
        name: &PersonName,
        resident_id: &ResidentId,
    ) -> Result<Answer, AgencyError> {
        let body = serde_json::to_string(&Check {
            request_id: id.to_string(),
            name: name.expose(),
            id_number: resident_id.expose(),
        })
        .map_err(|_| AgencyError::Unreadable)?;
        let timestamp = self.clock.now().timestamp().to_string();
        let response = self
            .http
            .post(self.address.clone())
            .header("content-type", "application/json")
            .header(APP, &self.app_id)
            .header(
                SIGNATURE,
                hex::encode(hmac::sign(&self.key(), &signed(&timestamp, &body))),
            )
            .header(TIMESTAMP, timestamp)
            .body(body)
            .send()
            .await
            // The address is ours and tells nothing, but the error must not carry more than that.
            .map_err(|error| AgencyError::Silent(error.without_url()))?;
        if !response.status().is_success() {
            return Err(AgencyError::Refused(response.status().as_u16()));
        }
        let headers = response.headers().clone();
        let body = response
            .text()
            .await
            .map_err(|error| AgencyError::Silent(error.without_url()))?;
        self.verify(&headers, &body)?;
        let answer: CheckAnswer =
            serde_json::from_str(&body).map_err(|_| AgencyError::Unreadable)?;
        if answer.request_id != id.to_string() {
            return Err(AgencyError::Unreadable);
        }
        match answer.result.as_str() {
            "match" => Ok(Answer::Match),
            "mismatch" | "not_found" => Ok(Answer::NoMatch),
            _ => Err(AgencyError::Unreadable),
        }
    }

    fn verify(&self, headers: &HeaderMap, body: &str) -> Result<(), AgencyError> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let timestamp = header(TIMESTAMP).ok_or(AgencyError::Forged)?;
        let signature = header(SIGNATURE)
            .and_then(|text| hex::decode(text).ok())
            .ok_or(AgencyError::Forged)?;
        hmac::verify(&self.key(), &signed(timestamp, body), &signature)
            .map_err(|_| AgencyError::Forged)?;
        let told = timestamp
            .parse()
            .ok()
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .ok_or(AgencyError::Forged)?;
        let skew = (self.clock.now() - told).num_seconds().unsigned_abs();
        if skew > CLOCK_SKEW_SECONDS {
            Err(AgencyError::Forged)
        } else {
            Ok(())
        }
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose_secret().as_bytes())
    }
}

fn signed(timestamp: &str, body: &str) -> Vec<u8> {
    [timestamp.as_bytes(), b"\n", body.as_bytes()].concat()
}

impl AgencyError {
    /// For metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Silent(_) => "silent",
            Self::Refused(_) => "refused",
            Self::Forged => "forged",
            Self::Unreadable => "unreadable",
        }
    }
}
