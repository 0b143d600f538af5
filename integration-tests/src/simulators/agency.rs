//! A real-name agency: one signed request, one signed answer. It knows the persons that
//! `POST /_persons` named.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use aws_lc_rs::hmac;
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::Utc;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::{Faults, Kind};

/// The customer of the agency.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The customer's name.
    pub app_id: String,
    /// The shared secret.
    pub secret: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Person {
    name: String,
    id_number: String,
}

#[derive(Deserialize)]
struct Check {
    request_id: String,
    name: String,
    id_number: String,
}

struct Agency {
    config: Config,
    faults: Faults,
    truth: Mutex<Truth>,
}

#[derive(Default)]
struct Truth {
    persons: HashMap<String, String>,
    /// The first answer of each request stands.
    answers: HashMap<String, &'static str>,
    counted: u64,
    refused: u64,
    asked: HashSet<String>,
}

/// The simulator.
pub fn routes(config: Config) -> Router {
    let faults = Faults::default();
    let agency = Arc::new(Agency {
        config,
        faults: faults.clone(),
        truth: Mutex::default(),
    });
    Router::new()
        .route("/v1/identity-checks", post(check))
        .route("/_persons", post(know))
        .route("/_truth", get(truth))
        .with_state(agency)
        .merge(faults.routes())
}

async fn know(State(agency): State<Arc<Agency>>, Json(person): Json<Person>) -> StatusCode {
    agency
        .truth
        .lock()
        .persons
        .insert(person.id_number, person.name);
    StatusCode::NO_CONTENT
}

async fn truth(State(agency): State<Arc<Agency>>) -> Json<Value> {
    let truth = agency.truth.lock();
    Json(json!({
        "persons": truth.persons.len(),
        "answers": truth.answers,
        "counted": truth.counted,
        "asked": truth.asked.len(),
        "refused": truth.refused,
    }))
}

async fn check(State(agency): State<Arc<Agency>>, headers: HeaderMap, body: Bytes) -> Response {
    agency.faults.delay("check").await;
    if agency.faults.take("check", Kind::Refuse).is_some() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let check = match verified(&agency, &headers, &body) {
        Ok(check) => check,
        Err(status) => {
            agency.truth.lock().refused += 1;
            return status.into_response();
        }
    };
    let result = {
        let mut truth = agency.truth.lock();
        truth.asked.insert(check.request_id.clone());
        if let Some(result) = truth.answers.get(&check.request_id) {
            result
        } else {
            let result = match truth.persons.get(&check.id_number) {
                Some(name) if *name == check.name => "match",
                Some(_) => "mismatch",
                None => "not_found",
            };
            truth.counted += 1;
            truth.answers.insert(check.request_id.clone(), result);
            result
        }
    };
    if agency.faults.take("check", Kind::Lose).is_some() {
        std::future::pending::<()>().await;
    }
    let answer = json!({"request_id": check.request_id, "result": result}).to_string();
    let timestamp = Utc::now().timestamp().to_string();
    let secret = if agency.faults.take("check", Kind::Corrupt).is_some() {
        "somebody else's"
    } else {
        &agency.config.secret
    };
    let signature = sign(secret, &timestamp, answer.as_bytes());
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("x-agency-timestamp", timestamp),
        ("x-agency-signature", signature),
    ];
    (headers, answer).into_response()
}

fn verified(agency: &Agency, headers: &HeaderMap, body: &[u8]) -> Result<Check, StatusCode> {
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let timestamp = header("x-agency-timestamp");
    let at: i64 = timestamp.parse().map_err(|_| StatusCode::UNAUTHORIZED)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, agency.config.secret.as_bytes());
    let signature = hex::decode(header("x-agency-signature")).unwrap_or_default();
    let message = [timestamp.as_bytes(), b"\n", body].concat();
    let genuine = header("x-agency-app") == agency.config.app_id
        && (Utc::now().timestamp() - at).abs() <= 300
        && hmac::verify(&key, &message, &signature).is_ok();
    if !genuine {
        return Err(StatusCode::UNAUTHORIZED);
    }
    serde_json::from_slice(body).map_err(|_| StatusCode::BAD_REQUEST)
}

fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hex::encode(hmac::sign(
        &key,
        &[timestamp.as_bytes(), b"\n", body].concat(),
    ))
}
