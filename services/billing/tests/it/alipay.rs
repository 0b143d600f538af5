//! The other side of Alipay: it verifies what the app signs and signs what it answers.

mod authority;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use aws_lc_rs::{
    rsa::KeyPair,
    signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use axum::{
    Router,
    body::Bytes,
    extract::{OriginalUri, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use billing::config::{AlipayConfig, AlipayMode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use wanwu_clock::{Clock, TestClock};

use crate::wechat_pay::{rsa, sign};
pub use authority::{ALIPAY, Authority, Issued, Term};

pub const APP_ID: &str = "2021000000000001";
pub const SELLER_ID: &str = "2088000000000001";

/// A trade as the provider knows it.
#[derive(Clone, Debug)]
pub struct Known {
    pub total: String,
    pub status: &'static str,
    pub trade_no: String,
    pub time_expire: String,
    pub refunds: BTreeMap<String, String>,
}

/// The provider.
#[derive(Clone)]
pub struct Alipay(Arc<Gateway>);

pub struct Gateway {
    clock: TestClock,
    pub alipay: KeyPair,
    app: Vec<u8>,
    /// What the app's requests must carry, in certificate mode.
    numbers: Option<(String, String)>,
    /// In certificate mode: signs answers, and is offered for download.
    pub signer: Mutex<Option<Arc<Issued>>>,
    /// Offered for download in the place of `signer`.
    pub offered: Mutex<Option<Arc<Issued>>>,
    /// How often a certificate was asked for.
    pub downloads: AtomicUsize,
    /// Trades, and codes that nobody scanned yet (status empty).
    pub trades: Mutex<BTreeMap<String, Known>>,
    pub lies: AtomicBool,
    pub fails: AtomicBool,
    /// It does what it is asked and the answer is lost.
    pub loses: AtomicBool,
    pub unsigned: AtomicUsize,
    pub refunded: AtomicUsize,
    /// The bill of every day, a ZIP; none: `isp.bill_not_exist`.
    pub bill: Mutex<Option<Vec<u8>>>,
    /// Business contents as they came, with their methods.
    pub contents: Mutex<Vec<(String, Value)>>,
    files: TempDir,
    address: String,
}

impl std::ops::Deref for Alipay {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.0
    }
}

impl Alipay {
    pub async fn start(clock: TestClock) -> Self {
        Self::start_with(clock, None).await
    }

    /// In certificate mode: the app's and Alipay's certificates are the authority's.
    pub async fn start_with(clock: TestClock, authority: Option<&Authority>) -> Self {
        let files = tempfile::tempdir().unwrap();
        let (app, alipay) = (rsa(), rsa());
        let mut numbers = None;
        let mut signer = None;
        if let Some(authority) = authority {
            let of_app = authority.issue(&app, "万物", Term::Now);
            let theirs = authority.issue(&alipay, ALIPAY, Term::Now);
            let file = |name| files.path().join(name);
            std::fs::write(file("app.crt"), &of_app.pem).unwrap();
            std::fs::write(file("alipay.crt"), &theirs.pem).unwrap();
            std::fs::write(file("root.crt"), &authority.roots).unwrap();
            numbers = Some((of_app.number, authority.root_number.clone()));
            signer = Some(Arc::new(theirs));
        }
        std::fs::write(files.path().join("app.pem"), app.serialize_pem()).unwrap();
        std::fs::write(files.path().join("alipay.pem"), alipay.public_key_pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = Self(Arc::new(Gateway {
            clock,
            alipay: KeyPair::from_pkcs8(alipay.serialized_der()).unwrap(),
            app: app.public_key_raw().to_vec(),
            numbers,
            signer: Mutex::new(signer),
            offered: Mutex::default(),
            downloads: AtomicUsize::new(0),
            trades: Mutex::default(),
            lies: AtomicBool::new(false),
            fails: AtomicBool::new(false),
            loses: AtomicBool::new(false),
            unsigned: AtomicUsize::new(0),
            refunded: AtomicUsize::new(0),
            bill: Mutex::default(),
            contents: Mutex::default(),
            address: format!("http://{}/gateway.do", listener.local_addr().unwrap()),
            files,
        }));
        let routes = Router::new()
            .route("/gateway.do", post(answer))
            .route("/bill.zip", get(download))
            .with_state(gateway.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        gateway
    }

    /// How an app reaches it.
    pub fn config(&self) -> AlipayConfig {
        AlipayConfig {
            gateway_url: self.address.parse().unwrap(),
            app_id: APP_ID.to_owned(),
            seller_id: SELLER_ID.to_owned(),
            mode: match self.numbers {
                Some(_) => AlipayMode::Certificate,
                None => AlipayMode::PublicKey,
            },
            app_key_file: self.files.path().join("app.pem"),
            alipay_public_key_file: self.files.path().join("alipay.pem"),
            app_certificate_file: self.files.path().join("app.crt"),
            alipay_certificate_file: self.files.path().join("alipay.crt"),
            alipay_root_file: self.files.path().join("root.crt"),
            notify_url: "http://edge.test/payments/alipay/callback".to_owned(),
            legal_urls: vec!["https://www.alipay.com".to_owned()],
        }
    }

    /// The payer scans and pays, and no notice is sent.
    pub fn pay(&self, number: &str) -> BTreeMap<String, String> {
        let mut trades = self.trades.lock();
        let trade = trades.get_mut(number).expect("the code is known");
        trade.status = "TRADE_SUCCESS";
        trade.trade_no = format!("20261123{}", &number[..20]);
        let fields = [
            ("notify_id", "2026112300222000000000000000000001"),
            ("notify_type", "trade_status_sync"),
            ("app_id", APP_ID),
            ("seller_id", SELLER_ID),
            ("charset", "utf-8"),
            ("subject", "万物账户充值"),
            ("out_trade_no", number),
            ("trade_no", &trade.trade_no),
            ("trade_status", trade.status),
            ("total_amount", &trade.total),
            ("gmt_payment", "2026-11-23 12:00:03"),
        ];
        fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    /// A notice with these fields.
    pub fn notice(&self, fields: &BTreeMap<String, String>) -> Vec<u8> {
        signed_form(fields, &self.alipay)
    }
}

/// A form signed with this key.
pub fn signed_form(fields: &BTreeMap<String, String>, key: &KeyPair) -> Vec<u8> {
    let signature = sign(key, joined(fields).as_bytes());
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .append_pair("sign_type", "RSA2")
        .append_pair("sign", &signature)
        .finish()
        .into_bytes()
}

fn joined(fields: &BTreeMap<String, String>) -> String {
    let pairs = fields.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

async fn answer(State(alipay): State<Alipay>, uri: OriginalUri, body: Bytes) -> Response {
    if alipay.fails.load(Ordering::SeqCst) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let form = url::form_urlencoded::parse(&body);
    let mut fields: BTreeMap<String, String> =
        query.into_owned().chain(form.into_owned()).collect();
    let signature = STANDARD.decode(fields.remove("sign").unwrap_or_default());
    let verified = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &alipay.app)
        .verify(joined(&fields).as_bytes(), &signature.unwrap_or_default());
    let now = alipay.clock.now() + chrono::Duration::hours(8);
    let fresh = fields["timestamp"] == now.format("%Y-%m-%d %H:%M:%S").to_string();
    let number = |name| fields.get(name).map(String::as_str);
    let named = (number("app_cert_sn"), number("alipay_root_cert_sn"));
    let numbers = alipay.numbers.as_ref();
    let expected = numbers.map(|(app, roots)| (app.as_str(), roots.as_str()));
    let of_mode = named == (expected.map(|of| of.0), expected.map(|of| of.1));
    if verified.is_err() || !fresh || !of_mode || fields["app_id"] != APP_ID {
        alipay.unsigned.fetch_add(1, Ordering::SeqCst);
        let refusal = json!({"code": "40002", "sub_code": "isv.invalid-signature"});
        return json!({"error_response": refusal})
            .to_string()
            .into_response();
    }
    let business: Value = serde_json::from_str(&fields["biz_content"]).unwrap();
    let mut node = alipay.act(&fields["method"], &business);
    if node.get("code").is_none() {
        node["code"] = json!("10000");
    }
    if alipay.loses.load(Ordering::SeqCst) {
        return StatusCode::GATEWAY_TIMEOUT.into_response();
    }
    // Escaped as a parser would not write it again: what is signed is the raw text.
    let text = node.to_string().replace("ACQ", "\\u0041CQ");
    let signed = if alipay.lies.load(Ordering::SeqCst) {
        "{}"
    } else {
        &text
    };
    let name = fields["method"].replace('.', "_");
    let signer = alipay.signer.lock().clone();
    let (signature, number) = match &signer {
        Some(issued) => (issued.sign(signed.as_bytes()), issued.number.as_str()),
        None => (sign(&alipay.alipay, signed.as_bytes()), ""),
    };
    let certificate = match number {
        "" => String::new(),
        number => format!(r#""alipay_cert_sn":"{number}","#),
    };
    format!(r#"{{"{name}_response":{text},{certificate}"sign":"{signature}"}}"#).into_response()
}

impl Gateway {
    fn act(&self, method: &str, business: &Value) -> Value {
        let text = |name: &str| business[name].as_str().unwrap_or_default().to_owned();
        self.contents
            .lock()
            .push((method.to_owned(), business.clone()));
        if method == "alipay.open.app.alipaycert.download" {
            self.downloads.fetch_add(1, Ordering::SeqCst);
            let offered = self.offered.lock().clone();
            let offered = offered.or_else(|| self.signer.lock().clone()).unwrap();
            return json!({"alipay_cert_content": STANDARD.encode(&offered.pem)});
        }
        if method == "alipay.data.dataservice.bill.downloadurl.query" {
            assert_eq!(business["bill_type"], "trade");
            return match &*self.bill.lock() {
                Some(_) => {
                    let address = self.address.replace("gateway.do", "bill.zip");
                    json!({"bill_download_url": address})
                }
                None => json!({"code": "40004", "sub_code": "isp.bill_not_exist"}),
            };
        }
        let mut trades = self.trades.lock();
        let unknown = json!({"code": "40004", "sub_code": "ACQ.TRADE_NOT_EXIST"});
        if method == "alipay.trade.precreate" {
            let number = text("out_trade_no");
            trades.entry(number.clone()).or_insert(Known {
                total: text("total_amount"),
                status: "",
                trade_no: String::new(),
                time_expire: text("time_expire"),
                refunds: BTreeMap::new(),
            });
            let code = format!("https://qr.alipay.com/{number}");
            return json!({"out_trade_no": number, "qr_code": code});
        }
        let (number, trade_no) = (text("out_trade_no"), text("trade_no"));
        let found = trades.iter_mut().find(|(known, trade)| {
            !trade.status.is_empty() && (**known == number || trade.trade_no == trade_no)
        });
        let Some((number, trade)) = found else {
            return unknown;
        };
        match method {
            "alipay.trade.query" => json!({
                "out_trade_no": number, "trade_no": trade.trade_no,
                "trade_status": trade.status, "total_amount": trade.total,
                "send_pay_date": "2026-11-23 12:00:03",
            }),
            "alipay.trade.close" if trade.status == "WAIT_BUYER_PAY" => {
                trade.status = "TRADE_CLOSED";
                json!({"out_trade_no": number})
            }
            "alipay.trade.refund" => {
                let (request, amount) = (text("out_request_no"), text("refund_amount"));
                let first = trade.refunds.insert(request, amount.clone()).is_none();
                self.refunded
                    .fetch_add(usize::from(first), Ordering::SeqCst);
                let change = if first { "Y" } else { "N" };
                json!({"trade_no": trade.trade_no, "fund_change": change, "refund_fee": amount})
            }
            "alipay.trade.fastpay.refund.query" => {
                let request = text("out_request_no");
                match trade.refunds.get(&request) {
                    Some(amount) => json!({
                        "trade_no": trade.trade_no, "out_request_no": request,
                        "refund_amount": amount, "refund_status": "REFUND_SUCCESS",
                    }),
                    None => json!({}),
                }
            }
            _ => json!({"code": "40004", "sub_code": "ACQ.TRADE_STATUS_ERROR"}),
        }
    }
}

async fn download(State(alipay): State<Alipay>) -> Response {
    let bill = alipay.bill.lock().clone();
    bill.unwrap().into_response()
}

impl Gateway {
    /// Writes the bill of everything that was paid: a ZIP with GBK inside, names and all.
    pub fn write_bill(&self) {
        let trades = self.trades.lock();
        let paid = trades
            .iter()
            .filter(|(_, trade)| trade.status == "TRADE_SUCCESS");
        let lines: Vec<String> = paid
            .map(|(number, trade)| {
                let (id, total) = (&trade.trade_no, &trade.total);
                format!("{id}\t,{number}\t,交易\t,万物账户充值\t,2026-11-23 12:00:03,王*(138****0000)\t,{total}\r\n")
            })
            .collect();
        let list = format!(
            "#支付宝业务明细查询\r\n#账号：[{SELLER_ID}0156]\r\n#-----业务明细列表-----\r\n\
             支付宝交易号,商户订单号,业务类型,商品名称,完成时间,对方账户,订单金额（元）\r\n\
             {}#-----业务明细列表结束-----\r\n#交易合计：{}笔，商家实收共0.00元\r\n",
            lines.concat(),
            lines.len(),
        );
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, text) in [
            ("sums.csv", "#支付宝业务汇总查询\r\n"),
            ("list.csv", list.as_str()),
        ] {
            let options = zip::write::SimpleFileOptions::default();
            archive.start_file(name, options).unwrap();
            let (bytes, _, _) = encoding_rs::GBK.encode(text);
            std::io::Write::write_all(&mut archive, &bytes).unwrap();
        }
        *self.bill.lock() = Some(archive.finish().unwrap().into_inner());
    }
}
