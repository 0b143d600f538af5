//! Notices as the provider makes them, and as a forger does.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rsa::KeyPair,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use tonic::Request;
use wanwu_proto::billing::v1::ReceiveWeChatPayCallbackRequest;

use crate::wechat_pay::{API_V3_KEY, SERIAL, sign};

/// What is put together into a notice; a forger changes some of it.
pub struct Draft {
    pub transaction: Value,
    pub event_type: &'static str,
    pub api_v3_key: &'static str,
    pub serial: &'static str,
    pub at: DateTime<Utc>,
}

impl Draft {
    pub fn new(transaction: Value, at: DateTime<Utc>) -> Self {
        Self {
            transaction,
            event_type: "TRANSACTION.SUCCESS",
            api_v3_key: API_V3_KEY,
            serial: SERIAL,
            at,
        }
    }

    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        *self.transaction.pointer_mut(pointer).unwrap() = value;
        self
    }

    pub fn later(mut self, by: Duration) -> Self {
        self.at += by;
        self
    }

    /// Encrypts and signs.
    pub fn sign(&self, key: &KeyPair) -> ReceiveWeChatPayCallbackRequest {
        let body = json!({
            "id": "EV-2018022511223320873",
            "create_time": self.at,
            "resource_type": "encrypt-resource",
            "event_type": self.event_type,
            "summary": "支付成功",
            "resource": seal(self.api_v3_key, &self.transaction),
        })
        .to_string();
        let (timestamp, nonce) = (self.at.timestamp().to_string(), "EbNmCtCo2LSGMoOq");
        let signature = sign(key, format!("{timestamp}\n{nonce}\n{body}\n").as_bytes());
        ReceiveWeChatPayCallbackRequest {
            serial: self.serial.to_owned(),
            timestamp,
            nonce: nonce.to_owned(),
            signature,
            body: body.into_bytes(),
        }
    }
}

fn seal(api_v3_key: &str, transaction: &Value) -> Value {
    seal_text(api_v3_key, "transaction", &transaction.to_string())
}

/// Encrypts as the provider does.
pub fn seal_text(api_v3_key: &str, associated: &str, text: &str) -> Value {
    let key = UnboundKey::new(&AES_256_GCM, api_v3_key.as_bytes()).unwrap();
    let nonce = b"fdasflkja484";
    let mut sealed = text.as_bytes().to_vec();
    LessSafeKey::new(key)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(associated.as_bytes()),
            &mut sealed,
        )
        .unwrap();
    json!({
        "original_type": "transaction",
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": STANDARD.encode(sealed),
        "associated_data": associated,
        "nonce": "fdasflkja484",
    })
}

/// As the edge hands it to billing.
pub fn handed(
    notice: &ReceiveWeChatPayCallbackRequest,
) -> Request<ReceiveWeChatPayCallbackRequest> {
    Request::new(notice.clone())
}
