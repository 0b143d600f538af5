//! Alibaba Cloud's SMS service (Dysmsapi 2017-05-25), `SendSms`, with ACS3-HMAC-SHA256 checked.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use aws_lc_rs::{digest, hmac};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::{Faults, Kind};

/// Messages that are remembered.
const MAX_MESSAGES: usize = 100_000;

/// The account that may send.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The access key.
    pub access_key_id: String,
    /// Its secret.
    pub access_key_secret: String,
}

struct Sms {
    config: Config,
    faults: Faults,
    truth: Mutex<Truth>,
}

#[derive(Default)]
struct Truth {
    messages: VecDeque<Value>,
    refused: u64,
    nonces: HashSet<String>,
}

/// The simulator.
pub fn routes(config: Config) -> Router {
    let faults = Faults::default();
    let sms = Arc::new(Sms {
        config,
        faults: faults.clone(),
        truth: Mutex::default(),
    });
    Router::new()
        .route("/", post(send))
        .route("/_truth", get(truth))
        .with_state(sms)
        .merge(faults.routes())
}

async fn truth(State(sms): State<Arc<Sms>>) -> Json<Value> {
    let truth = sms.truth.lock();
    Json(json!({"messages": truth.messages, "refused": truth.refused}))
}

async fn send(
    State(sms): State<Arc<Sms>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    sms.faults.delay("send").await;
    if sms.faults.take("send", Kind::Refuse).is_some() {
        return refused(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
    }
    let query = query.unwrap_or_default();
    if let Err(code) = check(&sms, &query, &headers, &body) {
        sms.truth.lock().refused += 1;
        return refused(StatusCode::BAD_REQUEST, code);
    }
    let parameter = |name: &str| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    };
    let phone = parameter("PhoneNumbers");
    if phone.len() != 11 || !phone.bytes().all(|byte| byte.is_ascii_digit()) {
        return refused(StatusCode::OK, "isv.MOBILE_NUMBER_ILLEGAL");
    }
    let params: Value =
        serde_json::from_str(&parameter("TemplateParam")).unwrap_or_else(|_| json!({}));
    {
        let mut truth = sms.truth.lock();
        truth.messages.push_back(json!({
            "phone": phone,
            "sign_name": parameter("SignName"),
            "template_code": parameter("TemplateCode"),
            "params": params,
            "out_id": parameter("OutId"),
            "time": Utc::now(),
        }));
        if truth.messages.len() > MAX_MESSAGES {
            truth.messages.pop_front();
        }
    }
    if sms.faults.take("send", Kind::Lose).is_some() {
        std::future::pending::<()>().await;
    }
    let id = uuid::Uuid::new_v4().to_string();
    Json(json!({"Code": "OK", "Message": "OK", "BizId": id, "RequestId": id})).into_response()
}

fn refused(status: StatusCode, code: &str) -> Response {
    let id = uuid::Uuid::new_v4().to_string();
    (
        status,
        Json(json!({"Code": code, "Message": code, "RequestId": id})),
    )
        .into_response()
}

/// As the provider's documentation of "V3 request structure and signature" says.
fn check(sms: &Sms, query: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if header("x-acs-action") != Some("SendSms") || header("x-acs-version") != Some("2017-05-25") {
        return Err("InvalidAction.NotFound");
    }
    let date = header("x-acs-date").ok_or("MissingTimestamp")?;
    let date: DateTime<Utc> = date.parse().map_err(|_| "InvalidTimeStamp.Format")?;
    if (Utc::now() - date).abs() > TimeDelta::minutes(15) {
        return Err("InvalidTimeStamp.Expired");
    }
    let hashed = hex::encode(digest::digest(&digest::SHA256, body));
    if header("x-acs-content-sha256") != Some(&hashed) {
        return Err("SignatureDoesNotMatch");
    }
    let authorization = header("authorization").ok_or("MissingSignature")?;
    let fields = authorization
        .strip_prefix("ACS3-HMAC-SHA256 ")
        .ok_or("InvalidSignatureType")?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    };
    if field("Credential") != Some(&sms.config.access_key_id) {
        return Err("InvalidAccessKeyId.NotFound");
    }
    let signed = field("SignedHeaders").ok_or("IncompleteSignature")?;
    for needed in [
        "host",
        "x-acs-action",
        "x-acs-content-sha256",
        "x-acs-date",
        "x-acs-version",
    ] {
        if !signed.split(';').any(|name| name == needed) {
            return Err("IncompleteSignature");
        }
    }
    let mut parameters: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
    parameters.sort_unstable();
    let mut canonical = format!("POST\n/\n{}\n", parameters.join("&"));
    for name in signed.split(';') {
        let value = header(name).unwrap_or_default().trim();
        canonical.push_str(&format!("{name}:{value}\n"));
    }
    canonical.push_str(&format!("\n{signed}\n{hashed}"));
    let hashed = hex::encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, sms.config.access_key_secret.as_bytes());
    let signature = hex::decode(field("Signature").unwrap_or_default());
    let signature = signature.map_err(|_| "SignatureDoesNotMatch")?;
    hmac::verify(
        &key,
        format!("ACS3-HMAC-SHA256\n{hashed}").as_bytes(),
        &signature,
    )
    .map_err(|_| "SignatureDoesNotMatch")?;
    let nonce = header("x-acs-signature-nonce").ok_or("MissingSignatureNonce")?;
    if !sms.truth.lock().nonces.insert(nonce.to_owned()) {
        return Err("SignatureNonceUsed");
    }
    Ok(())
}
