//! Alipay's gateway: precreate, page pay, query, close, refund, refund query, bills, certificates, and the
//! notices that it sends. `POST /_pay/{out_trade_no}` is the payer who scans and pays; with `?closed=true` also
//! when the trade was closed in the same moment.

mod bill;
mod gateway;
#[cfg(test)]
mod journey;
mod notice;
mod signature;

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, FixedOffset, Utc};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::faults::Faults;
use signature::Keys;

/// The app, its merchant, and Alipay's key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The app.
    pub app_id: String,
    /// The merchant.
    pub seller_id: String,
    /// The app's certificate.
    pub app_certificate_file: PathBuf,
    /// Alipay's key.
    pub alipay_key_file: PathBuf,
    /// How the app is set up.
    #[serde(default)]
    pub mode: Mode,
    /// Certificate mode: Alipay's certificate, with the authorities behind it.
    #[serde(default)]
    pub alipay_certificate_file: PathBuf,
    /// Certificate mode: the roots.
    #[serde(default)]
    pub alipay_root_file: PathBuf,
}

/// How an app is set up to sign and verify.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// With bare keys.
    #[default]
    PublicKey,
    /// With certificates, which requests and answers name.
    Certificate,
}

/// A trade as the provider knows it.
#[derive(Clone, Debug, Serialize)]
struct Trade {
    out_trade_no: String,
    total_amount: String,
    notify_url: String,
    /// Empty: a code that nobody scanned.
    trade_status: &'static str,
    trade_no: String,
    paid_at: Option<DateTime<Utc>>,
    /// Amounts in fen by number.
    refunds: BTreeMap<String, i64>,
    /// HTTP statuses that the merchant answered to notices with `success`; 0: otherwise.
    notices: Vec<u16>,
    /// How long each of those answers took, in microseconds.
    notice_micros: Vec<u64>,
}

struct Alipay {
    config: Config,
    keys: Keys,
    faults: Faults,
    http: reqwest::Client,
    trades: Mutex<BTreeMap<String, Trade>>,
    /// The last requests' parameters as they came, for others to verify.
    requests: Mutex<VecDeque<Value>>,
    refused: Mutex<u64>,
    /// Notices that are under way, at most eight.
    sending: tokio::sync::Semaphore,
}

/// The simulator.
///
/// # Errors
/// When the keys cannot be read.
pub fn routes(config: Config) -> anyhow::Result<Router> {
    let faults = Faults::default();
    let alipay = Arc::new(Alipay {
        keys: Keys::load(&config)?,
        config,
        faults: faults.clone(),
        http: reqwest::Client::builder()
            .timeout(std::time::Duration::from_secs(5))
            .build()?,
        trades: Mutex::default(),
        requests: Mutex::default(),
        refused: Mutex::default(),
        sending: tokio::sync::Semaphore::new(8),
    });
    Ok(Router::new()
        .route("/gateway.do", get(gateway::page).post(gateway::call))
        .route("/bill.zip", get(bill::download))
        .route("/_pay/{number}", post(scan_and_pay))
        .route("/_truth", get(truth))
        .with_state(alipay)
        .merge(faults.routes()))
}

/// Beijing time, as the provider writes it.
fn beijing(at: DateTime<Utc>) -> String {
    let beijing = FixedOffset::east_opt(8 * 3600).expect("eight hours are an offset");
    at.with_timezone(&beijing)
        .format("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// Yuan with two decimals as fen.
fn fen(yuan: &str) -> Option<i64> {
    let (whole, part) = yuan.split_once('.')?;
    let fen = whole.parse::<i64>().ok()? * 100 + part.parse::<i64>().ok()?;
    (part.len() == 2 && fen > 0).then_some(fen)
}

/// How the payer pays.
#[derive(Deserialize)]
struct Payer {
    #[serde(default)]
    closed: bool,
}

/// The payer scans the code and pays; the notice follows.
async fn scan_and_pay(
    State(alipay): State<Arc<Alipay>>,
    Path(number): Path<String>,
    Query(payer): Query<Payer>,
) -> Response {
    let trade = {
        let mut trades = alipay.trades.lock();
        let Some(trade) = trades.get_mut(&number) else {
            return (StatusCode::NOT_FOUND, "ACQ.TRADE_NOT_EXIST").into_response();
        };
        if trade.trade_status == "TRADE_CLOSED" && !payer.closed {
            return (StatusCode::BAD_REQUEST, "ACQ.TRADE_HAS_CLOSE").into_response();
        }
        if trade.trade_status != "TRADE_SUCCESS" {
            trade.trade_status = "TRADE_SUCCESS";
            let chance = uuid::Uuid::new_v4().as_u128() % 10_u128.pow(20);
            trade.trade_no = format!("20261123{chance:020}");
            trade.paid_at = Some(Utc::now());
        }
        trade.clone()
    };
    tokio::spawn(notice::notify(Arc::clone(&alipay), trade));
    StatusCode::NO_CONTENT.into_response()
}

async fn truth(State(alipay): State<Arc<Alipay>>) -> Json<Value> {
    let trades = alipay.trades.lock().clone();
    let requests = alipay.requests.lock().clone();
    let refused = *alipay.refused.lock();
    Json(json!({"trades": trades, "requests": requests, "refused": refused}))
}
