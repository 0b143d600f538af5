use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;

use super::{Alipay, Trade, beijing, signature::joined};
use crate::simulators::faults::Kind;

/// The provider's schedule of retries (4 minutes ... 15 hours), a thousand times faster, and its
/// first ones only: what comes later a query finds.
const RETRIES: [Duration; 4] = [
    Duration::from_millis(240),
    Duration::from_millis(600),
    Duration::from_millis(600),
    Duration::from_millis(3600),
];

/// Tells the merchant that a trade was paid, until it answers with success.
pub(super) async fn notify(alipay: Arc<Alipay>, trade: Trade) {
    alipay.faults.delay("callback").await;
    if alipay.faults.take("callback", Kind::Lose).is_some() {
        return;
    }
    let repeat = alipay
        .faults
        .take("callback", Kind::Repeat)
        .map_or(1, |fault| fault.count.max(1));
    let copies = (0..repeat).map(|_| deliver(Arc::clone(&alipay), trade.clone()));
    futures::future::join_all(copies).await;
}

async fn deliver(alipay: Arc<Alipay>, trade: Trade) {
    for pause in std::iter::once(Duration::ZERO).chain(RETRIES) {
        tokio::time::sleep(pause).await;
        let (status, micros) = send(&alipay, &trade).await;
        if let Some(known) = alipay.trades.lock().get_mut(&trade.out_trade_no) {
            known.notices.push(status);
            known.notice_micros.push(micros);
        }
        if status == 200 {
            return;
        }
    }
}

/// The status when the merchant answered `success`, else 0; and how long it took.
async fn send(alipay: &Alipay, trade: &Trade) -> (u16, u64) {
    let sending = alipay.sending.acquire().await;
    let now = Utc::now();
    let fields = [
        ("notify_id", uuid::Uuid::new_v4().simple().to_string()),
        ("notify_type", "trade_status_sync".to_owned()),
        ("notify_time", beijing(now)),
        ("app_id", alipay.config.app_id.clone()),
        ("seller_id", alipay.config.seller_id.clone()),
        ("charset", "utf-8".to_owned()),
        ("version", "1.0".to_owned()),
        ("subject", "万物账户充值".to_owned()),
        ("out_trade_no", trade.out_trade_no.clone()),
        ("trade_no", trade.trade_no.clone()),
        ("trade_status", trade.trade_status.to_owned()),
        ("total_amount", trade.total_amount.clone()),
        ("gmt_payment", beijing(trade.paid_at.unwrap_or(now))),
    ];
    let fields: BTreeMap<String, String> = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let corrupt = alipay.faults.take("callback", Kind::Corrupt).is_some();
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&fields)
        .append_pair("sign", &alipay.keys.sign(&joined(&fields), corrupt))
        .append_pair("sign_type", "RSA2")
        .finish();
    let begin = Instant::now();
    let answer = alipay
        .http
        .post(&trade.notify_url)
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .body(form)
        .send()
        .await;
    let status = match answer {
        Ok(answer) => {
            let status = answer.status().as_u16();
            let words = answer.text().await.unwrap_or_default();
            if words == "success" { status } else { 0 }
        }
        Err(_) => 0,
    };
    let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
    drop(sending);
    (status, micros)
}
