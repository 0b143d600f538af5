use std::{sync::Arc, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::{Method, Response, header::HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;
use wanwu_clock::{SharedClock, SharedEntropy};
use wanwu_ids::OrderId;

use super::{MerchantKey, Platform, SignatureError, Signed, Transaction};
use crate::{config::WechatPayConfig, store::orders::Order};

/// The longest answer that is read.
const MAX_ANSWER: usize = 64 << 10;

/// The provider's side of an order could not be done or learnt.
#[derive(Debug, thiserror::Error)]
pub enum WechatPayError {
    /// No answer in time.
    #[error("WeChat Pay did not answer")]
    Silent(#[source] reqwest::Error),
    /// An answer that refuses.
    #[error("WeChat Pay answered {status} {code}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The provider's code, such as `ORDER_NOT_EXIST`.
        code: String,
    },
    /// An answer that cannot be believed, or a key that cannot be used.
    #[error("WeChat Pay's answer is not signed by WeChat Pay")]
    Signature(#[from] SignatureError),
    /// Signed, but not what was asked for.
    #[error("WeChat Pay's answer cannot be read")]
    Unreadable,
}

impl WechatPayError {
    /// The provider knows no such order.
    #[must_use]
    pub fn is_unknown_order(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "ORDER_NOT_EXIST" || code == "ORDERNOTEXIST")
    }

    /// The order was paid already.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "ORDERPAID")
    }
}

/// The provider, as one merchant sees it.
pub struct WechatPay {
    http: reqwest::Client,
    config: WechatPayConfig,
    key: MerchantKey,
    platform: Platform,
    api_v3_key: SecretString,
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl WechatPay {
    /// Reads the keys.
    pub fn new(
        config: WechatPayConfig,
        api_v3_key: SecretString,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<Arc<Self>, WechatPayError> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .connect_timeout(Duration::from_secs(2))
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(WechatPayError::Silent)?;
        let key = MerchantKey::from_file(&config.merchant_key_file)?;
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

    /// Asks for the code that the payer scans. The same order asked for again gives a code again.
    pub async fn prepay(&self, order: &Order) -> Result<String, WechatPayError> {
        let body = json!({
            "appid": self.config.appid,
            "mchid": self.config.mchid,
            "description": "万物账户充值",
            "out_trade_no": out_trade_no(order.order_id),
            "time_expire": order.expires_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            "notify_url": self.config.notify_url,
            "amount": {"total": order.amount_fen, "currency": "CNY"},
        });
        let answer = self
            .call(Method::POST, "/v3/pay/transactions/native", Some(&body))
            .await?;
        let code_url = answer.get("code_url").and_then(Value::as_str);
        code_url
            .map(str::to_owned)
            .ok_or(WechatPayError::Unreadable)
    }

    /// What the provider says about an order.
    pub async fn query(&self, order: &Order) -> Result<Transaction, WechatPayError> {
        let path = format!(
            "/v3/pay/transactions/out-trade-no/{}?mchid={}",
            out_trade_no(order.order_id),
            self.config.mchid
        );
        let answer = self.call(Method::GET, &path, None).await?;
        let transaction: Transaction =
            serde_json::from_value(answer).map_err(|_| WechatPayError::Unreadable)?;
        // The signature does not cover the question: an answer about another order proves nothing.
        if transaction.out_trade_no != out_trade_no(order.order_id) {
            return Err(WechatPayError::Unreadable);
        }
        Ok(transaction)
    }

    /// Closes an order: nobody can pay it any more.
    pub async fn close(&self, order: &Order) -> Result<(), WechatPayError> {
        let path = format!(
            "/v3/pay/transactions/out-trade-no/{}/close",
            out_trade_no(order.order_id)
        );
        let body = json!({"mchid": self.config.mchid});
        self.call(Method::POST, &path, Some(&body)).await.map(drop)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, WechatPayError> {
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
            .map_err(|error| WechatPayError::Silent(error.without_url()))?;
        self.answer(response).await
    }

    fn address(&self, path: &str) -> Result<Url, WechatPayError> {
        self.config
            .base_url
            .join(path)
            .map_err(|_| WechatPayError::Unreadable)
    }

    fn authorization(
        &self,
        method: &Method,
        path: &str,
        body: &str,
        now: DateTime<Utc>,
    ) -> Result<String, WechatPayError> {
        let mut chance = [0; 16];
        self.entropy.fill(&mut chance);
        let (nonce, timestamp) = (hex::encode_upper(chance), now.timestamp());
        let signature = self
            .key
            .sign(&format!("{method}\n{path}\n{timestamp}\n{nonce}\n{body}\n"))?;
        Ok(format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"{}\",nonce_str=\"{nonce}\",timestamp=\"{timestamp}\",\
             serial_no=\"{}\",signature=\"{signature}\"",
            self.config.mchid, self.config.merchant_serial
        ))
    }

    async fn answer(&self, response: Response) -> Result<Value, WechatPayError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read(response).await?;
        if !status.is_success() {
            // A refusal decides nothing about money, so it need not be proved.
            let refusal: Value = serde_json::from_slice(&body).unwrap_or_default();
            let code = refusal
                .get("code")
                .and_then(Value::as_str)
                .unwrap_or_default();
            return Err(WechatPayError::Refused {
                status: status.as_u16(),
                code: code.chars().take(64).collect(),
            });
        }
        self.platform
            .verify(signed(&headers, &body), self.clock.now())?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| WechatPayError::Unreadable)
    }
}

/// Our number of an order at the provider: at most 32 letters and digits.
#[must_use]
pub fn out_trade_no(order_id: OrderId) -> String {
    order_id.uuid().simple().to_string()
}

async fn read(mut response: Response) -> Result<Vec<u8>, WechatPayError> {
    let silent = |error: reqwest::Error| WechatPayError::Silent(error.without_url());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(silent)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(WechatPayError::Unreadable);
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
