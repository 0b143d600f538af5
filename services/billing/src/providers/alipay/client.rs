use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, FixedOffset, Utc};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use url::Url;
use wanwu_clock::SharedClock;

use super::{
    content,
    trust::{Distrust, Trust},
};
use crate::{
    config::AlipayConfig,
    providers::{BILL_TIMEOUT, MAX_BILL, ProviderError, read, rsa::PrivateKey},
};

/// The longest answer that is read.
const MAX_ANSWER: usize = 64 << 10;
/// Beijing time, which the provider speaks: eight hours ahead, all year.
const BEIJING: FixedOffset = FixedOffset::east_opt(8 * 3600).expect("eight hours are an offset");

/// The provider, as one app of a merchant sees it.
pub struct Alipay {
    http: reqwest::Client,
    pub(super) config: AlipayConfig,
    key: PrivateKey,
    pub(super) trust: Trust,
    pub(super) clock: SharedClock,
}

/// An answer as it came.
pub(super) struct Reply {
    status: u16,
    /// The raw text that is signed.
    node: Box<RawValue>,
    signature: String,
    /// The number of the certificate that proves it; empty in public-key mode.
    pub(super) certificate: String,
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
    /// When one cannot be used: without what proves Alipay's signatures nothing could be told from
    /// anybody's.
    pub fn new(config: AlipayConfig, clock: SharedClock) -> Result<Arc<Self>, ProviderError> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .connect_timeout(Duration::from_secs(2))
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ProviderError::Silent)?;
        let key = PrivateKey::from_file(&config.app_key_file)
            .map_err(|error| ProviderError::Signature(Box::new(error)))?;
        let trust = Trust::read(&config, &key)
            .map_err(|error| ProviderError::Signature(Box::new(error)))?;
        Ok(Arc::new(Self {
            http,
            config,
            key,
            trust,
            clock,
        }))
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
        let certificates = self.trust.certificates();
        let app_number = certificates.map_or("", |known| known.app_number.as_str());
        let root_number = certificates.map_or("", |known| known.root_number.as_str());
        let common = [
            ("app_id", self.config.app_id.as_str()),
            ("app_cert_sn", app_number),
            ("alipay_root_cert_sn", root_number),
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
        let reply = self.ask(method, business, more).await?;
        let mut proved = self.verify(&reply);
        if proved == Err(Distrust::Number) && self.learn(&reply.certificate).await {
            proved = self.verify(&reply);
        }
        reply.read(proved)
    }

    fn verify(&self, reply: &Reply) -> Result<(), Distrust> {
        let (node, now) = (reply.node.get().as_bytes(), self.clock.now());
        self.trust
            .verify_answer(&reply.certificate, node, &reply.signature, now)
    }

    /// Asks, and answers whatever comes.
    pub(super) async fn ask(
        &self,
        method: &str,
        business: &Value,
        more: &[(&str, &str)],
    ) -> Result<Reply, ProviderError> {
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
        Reply::new(method, status, &text)
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
}

impl Reply {
    /// Finds the parts of an answer.
    fn new(method: &str, status: u16, text: &[u8]) -> Result<Self, ProviderError> {
        let mut nodes: HashMap<String, Box<RawValue>> =
            serde_json::from_slice(text).map_err(|_| refused(status, "", false))?;
        let node = nodes
            .remove(&format!("{}_response", method.replace('.', "_")))
            .or_else(|| nodes.remove("error_response"))
            .ok_or_else(|| refused(status, "", false))?;
        let word = |name: &str| {
            let value = nodes.get(name);
            let word = value.and_then(|value| serde_json::from_str::<String>(value.get()).ok());
            word.unwrap_or_default()
        };
        Ok(Self {
            status,
            node,
            signature: word("sign"),
            certificate: word("alipay_cert_sn"),
        })
    }

    /// What it says: the signature is over the raw text of the node, not over what a parser makes of
    /// it. Refusals come signed and not: who decides something by one looks at that.
    fn read(&self, proved: Result<(), Distrust>) -> Result<Value, ProviderError> {
        let value = self.says(proved.is_ok())?;
        proved.map_err(|distrust| ProviderError::Signature(Box::new(distrust)))?;
        Ok(value)
    }

    /// What it says, whoever says it.
    pub(super) fn unproved<T: DeserializeOwned>(&self) -> Result<T, ProviderError> {
        serde_json::from_value(self.says(false)?).map_err(|_| ProviderError::Unreadable)
    }

    fn says(&self, proved: bool) -> Result<Value, ProviderError> {
        let node = self.node.get();
        let verdict: Verdict = serde_json::from_str(node).map_err(|_| ProviderError::Unreadable)?;
        if verdict.code != "10000" {
            let code = if verdict.sub_code.is_empty() {
                &verdict.code
            } else {
                &verdict.sub_code
            };
            return Err(refused(self.status, code, proved));
        }
        serde_json::from_str(node).map_err(|_| ProviderError::Unreadable)
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
