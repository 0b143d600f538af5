use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::Utc;
use serde_json::{Value, json};

use super::{Order, Pay, refunds::Refund};
use crate::simulators::faults::Kind;

/// The provider's schedule of retries (15 s ... 6 h), a hundred times faster, and its first ones
/// only: what comes later a query finds.
const RETRIES: [Duration; 6] = [
    Duration::from_millis(150),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(1800),
    Duration::from_secs(6),
    Duration::from_secs(12),
];

/// Encrypts as the provider does: AES-256-GCM with the APIv3 key.
pub(super) fn seal(api_v3_key: &str, associated: &str, plaintext: &str) -> Value {
    let key = UnboundKey::new(&AES_256_GCM, api_v3_key.as_bytes()).expect("the key has 32 bytes");
    let nonce = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
    let mut sealed = plaintext.as_bytes().to_vec();
    LessSafeKey::new(key)
        .seal_in_place_append_tag(
            Nonce::try_assume_unique_for_key(nonce.as_bytes()).expect("12 bytes"),
            Aad::from(associated.as_bytes()),
            &mut sealed,
        )
        .expect("a small text is sealed");
    json!({
        "algorithm": "AEAD_AES_256_GCM",
        "original_type": "transaction",
        "nonce": nonce,
        "associated_data": associated,
        "ciphertext": STANDARD.encode(sealed),
    })
}

/// Tells the merchant that an order was paid, until it answers with success.
pub(super) async fn notify(pay: Arc<Pay>, order: Order) {
    pay.faults.delay("callback").await;
    if pay.faults.take("callback", Kind::Lose).is_some() {
        return;
    }
    let repeat = pay
        .faults
        .take("callback", Kind::Repeat)
        .map_or(1, |fault| fault.count.max(1));
    let copies = (0..repeat).map(|_| deliver(Arc::clone(&pay), order.clone()));
    futures::future::join_all(copies).await;
}

async fn deliver(pay: Arc<Pay>, order: Order) {
    let body = pay.transaction(&order);
    for pause in std::iter::once(Duration::ZERO).chain(RETRIES) {
        tokio::time::sleep(pause).await;
        let (status, micros) = send(&pay, &order.notify_url, "TRANSACTION.SUCCESS", &body).await;
        if let Some(known) = pay.orders.lock().get_mut(&order.out_trade_no) {
            known.notices.push(status);
            known.notice_micros.push(micros);
        }
        if matches!(status, 200 | 204) {
            return;
        }
    }
}

/// Tells the merchant that a refund succeeded, until it answers with success.
pub(super) async fn notify_refund(pay: Arc<Pay>, refund: Refund) {
    if pay.faults.take("refund_callback", Kind::Lose).is_some() {
        return;
    }
    let body = json!({
        "mchid": pay.config.mchid,
        "out_trade_no": refund.out_trade_no,
        "transaction_id": refund.transaction_id,
        "out_refund_no": refund.out_refund_no,
        "refund_id": format!("503{}", refund.out_refund_no),
        "refund_status": refund.status,
        "success_time": Utc::now(),
        "amount": {"total": refund.total, "refund": refund.refund},
    });
    for pause in std::iter::once(Duration::ZERO).chain(RETRIES) {
        tokio::time::sleep(pause).await;
        let (status, _) = send(&pay, &refund.notify_url, "REFUND.SUCCESS", &body).await;
        if matches!(status, 200 | 204) {
            return;
        }
    }
}

/// The HTTP status of the answer, 0 without one, and how long it took.
async fn send(pay: &Pay, address: &str, event: &str, resource: &Value) -> (u16, u64) {
    let sending = pay.sending.acquire().await;
    let body = json!({
        "id": uuid::Uuid::new_v4(),
        "create_time": Utc::now(),
        "event_type": event,
        "resource_type": "encrypt-resource",
        "summary": "通知",
        "resource": seal(&pay.config.api_v3_key, "transaction", &resource.to_string()),
    })
    .to_string();
    let corrupt = pay.faults.take("callback", Kind::Corrupt).is_some();
    let mut request = pay
        .http
        .post(address)
        .header("content-type", "application/json");
    for (name, value) in pay.keys.headers(&pay.config, &body, corrupt) {
        request = request.header(name, value);
    }
    let begin = Instant::now();
    let answer = request.body(body).send().await;
    let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
    drop(sending);
    (answer.map_or(0, |answer| answer.status().as_u16()), micros)
}
