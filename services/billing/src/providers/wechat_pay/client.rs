use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::{Method, Response, header::HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;
use wanwu_clock::{SharedClock, SharedEntropy};

use super::{Platform, SignatureError, Signed};
use crate::{
    config::WechatPayConfig,
    providers::{ProviderError, rsa::PrivateKey},
};

/// The longest answer that is read.
const MAX_ANSWER: usize = 64 << 10;

/// The provider, as one merchant sees it.
pub struct WechatPay {
    http: reqwest::Client,
    pub(super) config: WechatPayConfig,
    key: PrivateKey,
    platform: Platform,
    api_v3_key: SecretString,
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl From<SignatureError> for ProviderError {
    fn from(error: SignatureError) -> Self {
        Self::Signature(Box::new(error))
    }
}

impl WechatPay {
    /// Reads the keys.
    pub fn new(
        config: WechatPayConfig,
        api_v3_key: SecretString,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<Arc<Self>, ProviderError> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .connect_timeout(Duration::from_secs(2))
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ProviderError::Silent)?;
        let key = PrivateKey::from_file(&config.merchant_key_file)
            .map_err(SignatureError::MerchantKey)?;
        let platform = Platform::from_config(&config)?;
        Ok(Arc::new(Self {
            http,
            config,
            key,
            platform,
            api_v3_key,
            clock,
            entropy,
        }))
    }

    /// The merchant.
    #[must_use]
    pub fn mchid(&self) -> &str {
        &self.config.mchid
    }

    /// The merchant's app.
    #[must_use]
    pub fn appid(&self) -> &str {
        &self.config.appid
    }

    /// Believes what the provider signed, or says why not.
    pub fn verify(&self, signed: Signed<'_>) -> Result<(), SignatureError> {
        self.platform.verify(signed, self.clock.now())
    }

    /// The key that notices are encrypted with.
    #[must_use]
    pub fn api_v3_key(&self) -> &[u8] {
        self.api_v3_key.expose_secret().as_bytes()
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ProviderError> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let address = self.address(path)?;
        let authorization = self.authorization(&method, path, &body, self.clock.now())?;
        let mut request = self.http.request(method, address);
        if !self.config.platform_public_key_id.is_empty() {
            // Asks for answers that are signed with this key.
            request = request.header("wechatpay-serial", &self.config.platform_public_key_id);
        }
        let response = request
            .header("authorization", authorization)
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .header("user-agent", "wanwu-billing")
            .body(body)
            .send()
            .await
            .map_err(|error| ProviderError::Silent(error.without_url()))?;
        self.answer(response).await
    }

    fn address(&self, path: &str) -> Result<Url, ProviderError> {
        self.config
            .base_url
            .join(path)
            .map_err(|_| ProviderError::Unreadable)
    }

    fn authorization(
        &self,
        method: &Method,
        path: &str,
        body: &str,
        now: DateTime<Utc>,
    ) -> Result<String, ProviderError> {
        let mut chance = [0; 16];
        self.entropy.fill(&mut chance);
        let (nonce, timestamp) = (hex::encode_upper(chance), now.timestamp());
        let signature = self
            .key
            .sign(&format!("{method}\n{path}\n{timestamp}\n{nonce}\n{body}\n"))
            .map_err(SignatureError::MerchantKey)?;
        Ok(format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"{}\",nonce_str=\"{nonce}\",timestamp=\"{timestamp}\",\
             serial_no=\"{}\",signature=\"{signature}\"",
            self.config.mchid, self.config.merchant_serial
        ))
    }

    async fn answer(&self, response: Response) -> Result<Value, ProviderError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read(response).await?;
        let verified = self
            .platform
            .verify(signed(&headers, &body), self.clock.now());
        if !status.is_success() {
            // Refusals come signed and not: who decides something by one looks at that.
            let refusal: Value = serde_json::from_slice(&body).unwrap_or_default();
            let code = refusal
                .get("code")
                .and_then(Value::as_str)
                .unwrap_or_default();
            return Err(ProviderError::Refused {
                status: status.as_u16(),
                code: code.chars().take(64).collect(),
                proved: verified.is_ok(),
            });
        }
        verified?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| ProviderError::Unreadable)
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, ProviderError> {
    let silent = |error: reqwest::Error| ProviderError::Silent(error.without_url());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(silent)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(ProviderError::Unreadable);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn signed<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Signed<'a> {
    let header = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    Signed {
        serial: header("wechatpay-serial"),
        timestamp: header("wechatpay-timestamp"),
        nonce: header("wechatpay-nonce"),
        signature: header("wechatpay-signature"),
        body,
    }
}
