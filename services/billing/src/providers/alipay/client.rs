use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, FixedOffset, Utc};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use url::Url;
use wanwu_clock::SharedClock;

use super::content;
use crate::{
    config::AlipayConfig,
    providers::{
        BILL_TIMEOUT, MAX_BILL, ProviderError, read,
        rsa::{InvalidKey, PrivateKey, PublicKey},
    },
};

/// The longest answer that is read.
const MAX_ANSWER: usize = 64 << 10;
/// Beijing time, which the provider speaks: eight hours ahead, all year.
const BEIJING: FixedOffset = FixedOffset::east_opt(8 * 3600).expect("eight hours are an offset");

/// The answer is not signed by Alipay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is wrong or absent")]
pub struct WrongSignature;

/// The provider, as one app of a merchant sees it.
pub struct Alipay {
    http: reqwest::Client,
    pub(super) config: AlipayConfig,
    key: PrivateKey,
    alipay_key: PublicKey,
    clock: SharedClock,
}

/// What every answer says.
#[derive(Deserialize)]
struct Verdict {
    #[serde(default)]
    code: String,
    #[serde(default)]
    sub_code: String,
}

impl Alipay {
    /// Reads the keys.
    ///
    /// # Errors
    /// When one cannot be used: without Alipay's key nothing could be told from anybody's.
    pub fn new(config: AlipayConfig, clock: SharedClock) -> Result<Arc<Self>, ProviderError> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .connect_timeout(Duration::from_secs(2))
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ProviderError::Silent)?;
        let invalid = |error: InvalidKey| ProviderError::Signature(Box::new(error));
        let key = PrivateKey::from_file(&config.app_key_file).map_err(invalid)?;
        let alipay_key = PublicKey::from_file(&config.alipay_public_key_file).map_err(invalid)?;
        Ok(Arc::new(Self {
            http,
            config,
            key,
            alipay_key,
            clock,
        }))
    }

    /// Whether Alipay signed this.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        self.alipay_key.verifies(message, signature)
    }

    /// Where its user agreement and privacy policy are.
    #[must_use]
    pub fn legal_urls(&self) -> &[String] {
        &self.config.legal_urls
    }

    /// The app.
    #[must_use]
    pub fn app_id(&self) -> &str {
        &self.config.app_id
    }

    /// The seller.
    #[must_use]
    pub fn seller_id(&self) -> &str {
        &self.config.seller_id
    }

    /// Every parameter of a request but its business content, signed with it.
    pub(super) fn signed(
        &self,
        method: &str,
        business: &Value,
        more: &[(&str, &str)],
    ) -> Result<BTreeMap<String, String>, ProviderError> {
        let timestamp = beijing(self.clock.now());
        let business = business.to_string();
        let common = [
            ("app_id", self.config.app_id.as_str()),
            ("method", method),
            ("format", "JSON"),
            ("charset", "utf-8"),
            ("sign_type", "RSA2"),
            ("timestamp", &timestamp),
            ("version", "1.0"),
            ("biz_content", &business),
        ];
        let mut parameters: BTreeMap<String, String> = common
            .iter()
            .chain(more)
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let signature = self
            .key
            .sign(&content(&parameters, false))
            .map_err(|error| ProviderError::Signature(Box::new(error)))?;
        parameters.insert("sign".to_owned(), signature);
        Ok(parameters)
    }

    /// The address that carries all parameters.
    pub(super) fn address(&self, parameters: &BTreeMap<String, String>) -> Url {
        let mut address = self.config.gateway_url.clone();
        address.query_pairs_mut().extend_pairs(parameters);
        address
    }

    /// Asks, and answers what Alipay signed.
    pub(super) async fn call(
        &self,
        method: &str,
        business: &Value,
        more: &[(&str, &str)],
    ) -> Result<Value, ProviderError> {
        let mut parameters = self.signed(method, business, more)?;
        // The content goes into the body: addresses are logged on the way.
        let business = parameters.remove("biz_content").unwrap_or_default();
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("biz_content", &business)
            .finish();
        let response = self
            .http
            .post(self.address(&parameters))
            .header(
                "content-type",
                "application/x-www-form-urlencoded;charset=utf-8",
            )
            .body(body)
            .send()
            .await
            .map_err(|error| ProviderError::Silent(error.without_url()))?;
        let status = response.status().as_u16();
        let text = read(response, MAX_ANSWER).await?;
        self.answer(method, status, &text)
    }

    /// Downloads what Alipay's signed answer named: from the gateway's host or one of Alipay's own.
    pub(super) async fn download(&self, address: &str) -> Result<Vec<u8>, ProviderError> {
        let mut address = Url::parse(address).map_err(|_| ProviderError::Unreadable)?;
        let gateway = &self.config.gateway_url;
        if gateway.scheme() == "https" && address.scheme() == "http" {
            // As Alipay writes it; the host answers both.
            let changed = address.set_scheme("https");
            changed.map_err(|()| ProviderError::Unreadable)?;
        }
        let theirs = address.host_str() == gateway.host_str()
            || address
                .host_str()
                .is_some_and(|host| host.ends_with(".alipay.com"));
        if !theirs || address.scheme() != gateway.scheme() {
            return Err(ProviderError::Unreadable);
        }
        let response = self
            .http
            .get(address)
            .timeout(BILL_TIMEOUT)
            .send()
            .await
            .map_err(|error| ProviderError::Silent(error.without_url()))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(status.as_u16(), "", false));
        }
        read(response, MAX_BILL).await
    }

    /// Reads an answer: the signature is over the raw text of the node, not over what a parser
    /// makes of it.
    fn answer(&self, method: &str, status: u16, text: &[u8]) -> Result<Value, ProviderError> {
        let nodes: HashMap<String, Box<RawValue>> =
            serde_json::from_slice(text).map_err(|_| refused(status, "", false))?;
        let node = nodes
            .get(&format!("{}_response", method.replace('.', "_")))
            .or_else(|| nodes.get("error_response"))
            .ok_or_else(|| refused(status, "", false))?;
        let signature: String = nodes
            .get("sign")
            .and_then(|sign| serde_json::from_str(sign.get()).ok())
            .unwrap_or_default();
        let proved = self.verifies(node.get().as_bytes(), &signature);
        let verdict: Verdict =
            serde_json::from_str(node.get()).map_err(|_| ProviderError::Unreadable)?;
        if verdict.code != "10000" {
            let code = if verdict.sub_code.is_empty() {
                &verdict.code
            } else {
                &verdict.sub_code
            };
            return Err(refused(status, code, proved));
        }
        if !proved {
            return Err(ProviderError::Signature(Box::new(WrongSignature)));
        }
        serde_json::from_str(node.get()).map_err(|_| ProviderError::Unreadable)
    }
}

/// As the provider writes times.
pub(super) fn beijing(at: DateTime<Utc>) -> String {
    at.with_timezone(&BEIJING)
        .format("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// A time of the provider.
pub(super) fn from_beijing(text: &str) -> Option<DateTime<Utc>> {
    let naive = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok()?;
    let at = naive.and_local_timezone(BEIJING).single()?;
    Some(at.to_utc())
}

fn refused(status: u16, code: &str, proved: bool) -> ProviderError {
    ProviderError::Refused {
        status,
        code: code.chars().take(64).collect(),
        proved,
    }
}
