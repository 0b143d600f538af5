use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use reqwest::{Method, Response, header::HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;
use wanwu_clock::{SharedClock, SharedEntropy};

use super::{Platform, SignatureError, Signed};
use crate::{
    config::WechatPayConfig,
    providers::{BILL_TIMEOUT, MAX_BILL, ProviderError, read, rsa::PrivateKey},
};

/// The longest answer that is read.
pub(super) const MAX_ANSWER: usize = 64 << 10;

/// The provider, as one merchant sees it.
pub struct WechatPay {
    http: reqwest::Client,
    pub(super) config: WechatPayConfig,
    key: PrivateKey,
    pub(super) platform: Platform,
    api_v3_key: SecretString,
    pub(super) clock: SharedClock,
    entropy: SharedEntropy,
    /// When a notice last made us ask for certificates.
    pub(super) asked_for_certificates: Mutex<Option<DateTime<Utc>>>,
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
            asked_for_certificates: Mutex::default(),
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

    /// Where its user agreement and privacy policy are.
    #[must_use]
    pub fn legal_urls(&self) -> &[String] {
        &self.config.legal_urls
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
        let response = self.send(method, path, body).await?;
        self.answer(response).await
    }

    /// Asks for what the answer holds, and for nothing to be believed yet.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Response, ProviderError> {
        let address = self.address(path)?;
        let authorization = self.authorization(&method, path, &body, self.clock.now())?;
        let mut request = self.http.request(method, address);
        if !self.config.platform_public_key_id.is_empty() {
            // Asks for answers that are signed with this key.
            request = request.header("wechatpay-serial", &self.config.platform_public_key_id);
        }
        request
            .header("authorization", authorization)
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .header("user-agent", "wanwu-billing")
            .body(body)
            .send()
            .await
            .map_err(|error| ProviderError::Silent(error.without_url()))
    }

    /// Downloads a file that a signed answer named. Files are not signed: whoever asks compares the
    /// hash. Our signature goes to the provider's own host and nowhere else.
    pub(super) async fn download(&self, address: &str) -> Result<Vec<u8>, ProviderError> {
        let address = Url::parse(address).map_err(|_| ProviderError::Unreadable)?;
        if address.origin() != self.config.base_url.origin() {
            return Err(ProviderError::Unreadable);
        }
        let path = match address.query() {
            Some(query) => format!("{}?{query}", address.path()),
            None => address.path().to_owned(),
        };
        let authorization = self.authorization(&Method::GET, &path, "", self.clock.now())?;
        let response = self
            .http
            .get(address)
            .timeout(BILL_TIMEOUT)
            .header("authorization", authorization)
            .header("user-agent", "wanwu-billing")
            .send()
            .await
            .map_err(|error| ProviderError::Silent(error.without_url()))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(status.as_u16(), b"", false));
        }
        read(response, MAX_BILL).await
    }

    /// What a page inside WeChat hands to WeChat, signed, as JSON.
    pub(super) fn jsapi(&self, prepay_id: &str) -> Result<String, ProviderError> {
        let (nonce, timestamp) = (self.nonce(), self.clock.now().timestamp());
        let (appid, package) = (&self.config.appid, format!("prepay_id={prepay_id}"));
        let signature = self
            .key
            .sign(&format!("{appid}\n{timestamp}\n{nonce}\n{package}\n"))
            .map_err(SignatureError::MerchantKey)?;
        let parameters = json!({
            "appId": appid,
            "timeStamp": timestamp.to_string(),
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": signature,
        });
        Ok(parameters.to_string())
    }

    fn nonce(&self) -> String {
        let mut chance = [0; 16];
        self.entropy.fill(&mut chance);
        hex::encode_upper(chance)
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
        let (nonce, timestamp) = (self.nonce(), now.timestamp());
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
        let body = read(response, MAX_ANSWER).await?;
        let verified = self
            .platform
            .verify(signed(&headers, &body), self.clock.now());
        if !status.is_success() {
            // Refusals come signed and not: who decides something by one looks at that.
            return Err(refused(status.as_u16(), &body, verified.is_ok()));
        }
        verified?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| ProviderError::Unreadable)
    }
}

pub(super) fn refused(status: u16, body: &[u8], proved: bool) -> ProviderError {
    let refusal: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = refusal.get("code").and_then(Value::as_str);
    ProviderError::Refused {
        status,
        code: code.unwrap_or_default().chars().take(64).collect(),
        proved,
    }
}

pub(super) fn signed<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Signed<'a> {
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
