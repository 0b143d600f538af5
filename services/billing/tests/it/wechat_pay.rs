//! The other side of WeChat Pay v3: it verifies what the merchant signs and signs what it answers.

mod bills;
mod certificates;
mod orders;
mod refunds;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use axum::{
    Router,
    body::Bytes,
    extract::{OriginalUri, Path, Query, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use billing::config::WechatPayConfig;
use parking_lot::Mutex;
use rcgen::{CertificateParams, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use wanwu_clock::{Clock, TestClock};

pub use orders::transaction;

pub const MCHID: &str = "1900000001";
pub const APPID: &str = "wx0123456789abcdef";
pub const API_V3_KEY: &str = "0123456789abcdef0123456789abcdef";
pub const SERIAL: &str = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1";
const MERCHANT_SERIAL: &str = "3775B6A45ACD588826D15E583A95F5DD";

/// An order as the provider knows it.
#[derive(Clone, Debug)]
pub struct Known {
    pub total: i64,
    pub trade_state: &'static str,
    pub transaction_id: String,
    pub time_expire: String,
}

/// The provider.
#[derive(Clone)]
pub struct WechatPay(Arc<Provider>);

pub struct Provider {
    clock: TestClock,
    pub platform: KeyPair,
    pub merchant: Vec<u8>,
    pub orders: Mutex<BTreeMap<String, Known>>,
    /// Every answer's signature is wrong.
    pub lies: AtomicBool,
    /// It fails.
    pub fails: AtomicBool,
    /// It answers about this order, whatever it is asked about.
    pub confuses: Mutex<Option<String>>,
    pub prepays: AtomicUsize,
    pub queries: AtomicUsize,
    pub unsigned: AtomicUsize,
    /// Refunds by our number: the transaction, the amount and the state.
    pub refunds: Mutex<BTreeMap<String, (String, i64, &'static str)>>,
    /// The state of new refunds.
    pub refund_state: Mutex<&'static str>,
    /// Refusals are signed.
    pub signs_refusals: AtomicBool,
    /// The bill of every day; none: `NO_STATEMENT_EXIST`.
    pub bill: Mutex<Option<String>>,
    /// How often a bill was downloaded.
    pub downloads: AtomicUsize,
    /// The bill that is downloaded is not the one whose hash was told.
    pub swaps_bill: AtomicBool,
    /// Certificates that it offers: serial and PEM.
    pub certificates: Mutex<Vec<(String, String)>>,
    /// Signs answers in the place of `platform`.
    pub signer: Mutex<Option<(String, Arc<KeyPair>)>>,
    /// Bodies of prepays and refunds as they came, with their paths.
    pub bodies: Mutex<Vec<(String, Value)>>,
    files: TempDir,
    base_url: String,
}

impl std::ops::Deref for WechatPay {
    type Target = Provider;

    fn deref(&self) -> &Provider {
        &self.0
    }
}

/// A new RSA key.
pub fn rsa() -> rcgen::KeyPair {
    rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

/// Base64 of the RSA-SHA256 signature.
pub fn sign(key: &KeyPair, message: &[u8]) -> String {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        message,
        &mut signature,
    )
    .unwrap();
    STANDARD.encode(signature)
}

impl WechatPay {
    pub async fn start(clock: TestClock) -> Self {
        // The client is built for HTTPS too; another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let files = tempfile::tempdir().unwrap();
        let (merchant, platform) = (rsa(), rsa());
        let certificate = CertificateParams::new(vec!["platform".to_owned()])
            .unwrap()
            .self_signed(&platform)
            .unwrap();
        let file = |name| files.path().join(name);
        std::fs::write(file("merchant.pem"), merchant.serialize_pem()).unwrap();
        std::fs::write(file("platform.pem"), certificate.pem()).unwrap();
        std::fs::write(file("public.pem"), platform.public_key_pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self(Arc::new(Provider {
            clock,
            platform: KeyPair::from_pkcs8(platform.serialized_der()).unwrap(),
            merchant: merchant.public_key_raw().to_vec(),
            orders: Mutex::default(),
            lies: AtomicBool::new(false),
            fails: AtomicBool::new(false),
            confuses: Mutex::default(),
            prepays: AtomicUsize::new(0),
            queries: AtomicUsize::new(0),
            unsigned: AtomicUsize::new(0),
            refunds: Mutex::default(),
            refund_state: Mutex::new("SUCCESS"),
            signs_refusals: AtomicBool::new(false),
            bill: Mutex::default(),
            downloads: AtomicUsize::new(0),
            swaps_bill: AtomicBool::new(false),
            certificates: Mutex::default(),
            signer: Mutex::default(),
            bodies: Mutex::default(),
            base_url: format!("http://{}", listener.local_addr().unwrap()),
            files,
        }));
        let routes = Router::new()
            .route("/v3/pay/transactions/native", post(orders::prepay))
            .route("/v3/pay/transactions/h5", post(orders::prepay))
            .route("/v3/pay/transactions/jsapi", post(orders::prepay))
            .route("/v3/bill/tradebill", get(bills::place))
            .route("/v3/billdownload/file", get(bills::download))
            .route("/v3/certificates", get(certificates::list))
            .route(
                "/v3/pay/transactions/out-trade-no/{number}",
                get(orders::query),
            )
            .route(
                "/v3/pay/transactions/out-trade-no/{number}/close",
                post(orders::close),
            )
            .route("/v3/refund/domestic/refunds", post(refunds::refund))
            .route("/v3/refund/domestic/refunds/{number}", get(refunds::query))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        provider
    }

    /// How a merchant reaches it.
    pub fn config(&self) -> WechatPayConfig {
        WechatPayConfig {
            base_url: self.base_url.parse().unwrap(),
            mchid: MCHID.to_owned(),
            appid: APPID.to_owned(),
            merchant_serial: MERCHANT_SERIAL.to_owned(),
            merchant_key_file: self.files.path().join("merchant.pem"),
            api_v3_key: Some(API_V3_KEY.into()),
            api_v3_key_file: None,
            platform_certificate_file: self.files.path().join("platform.pem"),
            platform_serial: SERIAL.to_owned(),
            platform_public_key_file: self.files.path().join("public.pem"),
            platform_public_key_id: String::new(),
            download_certificates: true,
            notify_url: "http://edge.test/payments/wechat/callback".to_owned(),
            legal_urls: vec!["https://pay.weixin.qq.com".to_owned()],
        }
    }

    /// The payer pays, and no notice is sent.
    pub fn pay(&self, number: &str) -> Value {
        let mut orders = self.orders.lock();
        let order = orders.get_mut(number).expect("the order is known");
        order.trade_state = "SUCCESS";
        order.transaction_id = format!("42{}", &number[..26]);
        transaction(number, order)
    }
}

impl Provider {
    fn answer(&self, status: StatusCode, body: Option<&Value>) -> Response {
        let body = body.map(Value::to_string).unwrap_or_default();
        let timestamp = self.clock.now().timestamp().to_string();
        let message = format!("{timestamp}\nnonce\n{body}\n");
        let signer = self.signer.lock().clone();
        let (serial, mut signature) = match &signer {
            Some((serial, key)) => (serial.clone(), sign(key, message.as_bytes())),
            None => (SERIAL.to_owned(), sign(&self.platform, message.as_bytes())),
        };
        if self.lies.load(Ordering::SeqCst) {
            signature = sign(&self.platform, b"something else");
        }
        let headers = [
            ("wechatpay-serial", serial),
            ("wechatpay-timestamp", timestamp),
            ("wechatpay-nonce", "nonce".to_owned()),
            ("wechatpay-signature", signature),
        ];
        (status, headers, body).into_response()
    }

    fn refuse(status: StatusCode, code: &str) -> Response {
        (status, json!({"code": code, "message": "no"}).to_string()).into_response()
    }

    /// The merchant signed this just now.
    fn is_signed(
        &self,
        method: &Method,
        uri: &OriginalUri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> bool {
        let text = headers["authorization"].to_str().unwrap();
        let fields: HashMap<_, _> = text
            .strip_prefix("WECHATPAY2-SHA256-RSA2048 ")
            .unwrap_or_default()
            .split(',')
            .filter_map(|field| field.split_once('='))
            .map(|(name, value)| (name, value.trim_matches('"')))
            .collect();
        let (Some(timestamp), Some(nonce)) = (fields.get("timestamp"), fields.get("nonce_str"))
        else {
            return false;
        };
        let mut message = format!("{method}\n{}\n{timestamp}\n{nonce}\n", uri.0).into_bytes();
        message.extend_from_slice(body);
        message.push(b'\n');
        // The value of `signature` ends in `=`.
        let signature = text.split("signature=\"").nth(1).unwrap_or_default();
        let signature = STANDARD.decode(signature.trim_end_matches('"'));
        fields.get("mchid") == Some(&MCHID)
            && fields.get("serial_no") == Some(&MERCHANT_SERIAL)
            && timestamp
                .parse()
                .is_ok_and(|at: i64| (self.clock.now().timestamp() - at).abs() < 300)
            && UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.merchant)
                .verify(&message, &signature.unwrap_or_default())
                .is_ok()
    }

    fn enter(
        &self,
        method: &Method,
        uri: &OriginalUri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Response> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(Self::refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "SYSTEM_ERROR",
            ));
        }
        if self.is_signed(method, uri, headers, body) {
            return Ok(());
        }
        self.unsigned.fetch_add(1, Ordering::SeqCst);
        Err(Self::refuse(StatusCode::UNAUTHORIZED, "SIGN_ERROR"))
    }
}
