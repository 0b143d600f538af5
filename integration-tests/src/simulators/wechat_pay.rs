//! WeChat Pay API v3: native, H5 and JSAPI prepay, query, close, refunds, certificates, bills, and
//! the notices that it sends. `POST /_pay/{out_trade_no}` is the payer who scans and pays; with `?closed=true`
//! also when the order was closed in the same moment.

mod bill;
mod notice;
mod prepay;
mod refunds;
mod signature;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{OriginalUri, Path, Query, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    faults::{Faults, Kind},
    remember,
};
use signature::{Keys, sign_answer};

/// The merchant, and the platform's keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The merchant.
    pub mchid: String,
    /// The merchant's app.
    pub appid: String,
    /// The APIv3 key, 32 characters.
    pub api_v3_key: String,
    /// Serial of the merchant's certificate.
    pub merchant_serial: String,
    /// The merchant's certificate.
    pub merchant_certificate_file: PathBuf,
    /// The platform's key.
    pub platform_key_file: PathBuf,
    /// The platform's certificate.
    pub platform_certificate_file: PathBuf,
    /// Its serial.
    pub platform_serial: String,
}

/// An order as the provider knows it.
#[derive(Clone, Debug, Serialize)]
struct Order {
    out_trade_no: String,
    total: i64,
    notify_url: String,
    trade_state: &'static str,
    transaction_id: String,
    success_time: Option<DateTime<Utc>>,
    /// HTTP statuses that the merchant answered to notices; 0: no answer.
    notices: Vec<u16>,
    /// How long each of those answers took, in microseconds.
    notice_micros: Vec<u64>,
}

struct Pay {
    config: Config,
    keys: Keys,
    faults: Faults,
    http: reqwest::Client,
    orders: Mutex<BTreeMap<String, Order>>,
    refunds: Mutex<BTreeMap<String, refunds::Refund>>,
    /// The last requests as they came, for others to verify.
    requests: Mutex<VecDeque<Value>>,
    /// Notices that are under way, at most eight.
    sending: tokio::sync::Semaphore,
    refused: Mutex<u64>,
}

/// The simulator.
///
/// # Errors
/// When the keys cannot be read.
pub fn routes(config: Config) -> anyhow::Result<Router> {
    let faults = Faults::default();
    let pay = Arc::new(Pay {
        keys: Keys::load(&config)?,
        config,
        faults: faults.clone(),
        http: reqwest::Client::builder()
            .timeout(std::time::Duration::from_secs(5))
            .build()?,
        orders: Mutex::default(),
        refunds: Mutex::default(),
        requests: Mutex::default(),
        sending: tokio::sync::Semaphore::new(8),
        refused: Mutex::default(),
    });
    Ok(Router::new()
        .route("/v3/pay/transactions/native", post(prepay::prepay))
        .route("/v3/pay/transactions/h5", post(prepay::prepay))
        .route("/v3/pay/transactions/jsapi", post(prepay::prepay))
        .route("/v3/pay/transactions/out-trade-no/{number}", get(query))
        .route(
            "/v3/pay/transactions/out-trade-no/{number}/close",
            post(close),
        )
        .route("/v3/refund/domestic/refunds", post(refunds::refund))
        .route("/v3/refund/domestic/refunds/{number}", get(refunds::query))
        .route("/v3/certificates", get(certificates))
        .route("/v3/bill/tradebill", get(bill::place))
        .route("/v3/billdownload/file", get(bill::download))
        .route("/_pay/{number}", post(scan_and_pay))
        .route("/_truth", get(truth))
        .with_state(pay)
        .merge(faults.routes()))
}

fn failure(status: StatusCode, code: &str) -> Response {
    (status, Json(json!({"code": code, "message": code}))).into_response()
}

impl Pay {
    /// What every request of the merchant passes first: faults, then the signature.
    async fn enter(
        &self,
        operation: &str,
        method: &Method,
        uri: &OriginalUri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Response> {
        self.faults.delay(operation).await;
        if self.faults.take(operation, Kind::Refuse).is_some() {
            return Err(failure(StatusCode::INTERNAL_SERVER_ERROR, "SYSTEM_ERROR"));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        remember(
            &self.requests,
            json!({
                "method": method.as_str(),
                "path": path,
                "authorization": headers.get("authorization").and_then(|v| v.to_str().ok()),
                "body": String::from_utf8_lossy(body),
            }),
        );
        if self
            .keys
            .verify_merchant(&self.config, method.as_str(), path, headers, body)
        {
            Ok(())
        } else {
            *self.refused.lock() += 1;
            Err(failure(StatusCode::UNAUTHORIZED, "SIGN_ERROR"))
        }
    }

    async fn answer(&self, operation: &str, body: Option<&Value>) -> Response {
        // It is done; who asked learns of it late.
        self.faults.delay(&format!("{operation}_answer")).await;
        if self.faults.take(operation, Kind::Lose).is_some() {
            std::future::pending::<()>().await;
        }
        let corrupt = self.faults.take(operation, Kind::Corrupt).is_some();
        sign_answer(&self.keys, &self.config, body, corrupt)
    }

    fn transaction(&self, order: &Order) -> Value {
        json!({
            "mchid": self.config.mchid,
            "appid": self.config.appid,
            "out_trade_no": order.out_trade_no,
            "transaction_id": order.transaction_id,
            "trade_type": "NATIVE",
            "trade_state": order.trade_state,
            "trade_state_desc": order.trade_state,
            "success_time": order.success_time,
            "amount": {"total": order.total, "payer_total": order.total,
                       "currency": "CNY", "payer_currency": "CNY"},
        })
    }
}

async fn query(
    State(pay): State<Arc<Pay>>,
    Path(number): Path<String>,
    Query(parameters): Query<HashMap<String, String>>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refused) = pay.enter("query", &method, &uri, &headers, &body).await {
        return refused;
    }
    if parameters.get("mchid") != Some(&pay.config.mchid) {
        return failure(StatusCode::BAD_REQUEST, "PARAM_ERROR");
    }
    let Some(order) = pay.orders.lock().get(&number).cloned() else {
        return failure(StatusCode::NOT_FOUND, "ORDER_NOT_EXIST");
    };
    pay.answer("query", Some(&pay.transaction(&order))).await
}

async fn close(
    State(pay): State<Arc<Pay>>,
    Path(number): Path<String>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refused) = pay.enter("close", &method, &uri, &headers, &body).await {
        return refused;
    }
    match pay.orders.lock().get_mut(&number) {
        None => return failure(StatusCode::NOT_FOUND, "ORDER_NOT_EXIST"),
        Some(order) if order.trade_state == "SUCCESS" => {
            return failure(StatusCode::BAD_REQUEST, "ORDERPAID");
        }
        Some(order) => order.trade_state = "CLOSED",
    }
    pay.answer("close", None).await
}

async fn certificates(
    State(pay): State<Arc<Pay>>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refused) = pay
        .enter("certificates", &method, &uri, &headers, &body)
        .await
    {
        return refused;
    }
    let sealed = notice::seal(
        &pay.config.api_v3_key,
        "certificate",
        &pay.keys.certificate_pem,
    );
    let now = Utc::now();
    let answer = json!({"data": [{
        "serial_no": pay.config.platform_serial,
        "effective_time": now,
        "expire_time": now + chrono::TimeDelta::days(365),
        "encrypt_certificate": sealed,
    }]});
    pay.answer("certificates", Some(&answer)).await
}

/// How the payer pays.
#[derive(Deserialize)]
struct Payer {
    #[serde(default)]
    closed: bool,
}

/// The payer scans the code and pays; the notice follows.
async fn scan_and_pay(
    State(pay): State<Arc<Pay>>,
    Path(number): Path<String>,
    Query(payer): Query<Payer>,
) -> Response {
    let order = {
        let mut orders = pay.orders.lock();
        let Some(order) = orders.get_mut(&number) else {
            return failure(StatusCode::NOT_FOUND, "ORDER_NOT_EXIST");
        };
        if order.trade_state == "CLOSED" && !payer.closed {
            return failure(StatusCode::BAD_REQUEST, "ORDER_CLOSED");
        }
        if order.trade_state != "SUCCESS" {
            order.trade_state = "SUCCESS";
            order.transaction_id = format!("42{}", uuid::Uuid::new_v4().simple());
            order.transaction_id.truncate(28);
            order.success_time = Some(Utc::now());
        }
        order.clone()
    };
    tokio::spawn(notice::notify(Arc::clone(&pay), order));
    StatusCode::NO_CONTENT.into_response()
}

async fn truth(State(pay): State<Arc<Pay>>) -> Json<Value> {
    let orders = pay.orders.lock().clone();
    let refunds = pay.refunds.lock().clone();
    let requests = pay.requests.lock().clone();
    let refused = *pay.refused.lock();
    Json(json!({"orders": orders, "refunds": refunds, "requests": requests, "refused": refused}))
}
