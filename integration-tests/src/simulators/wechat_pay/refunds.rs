use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, Method, StatusCode},
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Pay, failure, notice};

/// How long a refund takes.
const WORK: Duration = Duration::from_millis(300);

/// A refund as the provider knows it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Refund {
    pub(super) out_refund_no: String,
    pub(super) out_trade_no: String,
    pub(super) transaction_id: String,
    pub(super) refund: i64,
    pub(super) total: i64,
    pub(super) status: &'static str,
    pub(super) notify_url: String,
    /// How often it was asked for.
    pub(super) asked: u32,
}

#[derive(Deserialize)]
struct Wanted {
    transaction_id: String,
    out_refund_no: String,
    #[serde(default)]
    notify_url: String,
    amount: Amount,
}

#[derive(Deserialize)]
struct Amount {
    refund: i64,
    total: i64,
    currency: String,
}

impl Refund {
    fn answer(&self) -> Value {
        json!({
            "refund_id": format!("503{}", self.out_refund_no),
            "out_refund_no": self.out_refund_no,
            "out_trade_no": self.out_trade_no,
            "transaction_id": self.transaction_id,
            "channel": "ORIGINAL",
            "status": self.status,
            "amount": {"refund": self.refund, "total": self.total, "currency": "CNY"},
        })
    }
}

impl Pay {
    /// The refund of this number: the one that is known, or a new one of a paid order that has so
    /// much left.
    #[expect(
        clippy::result_large_err,
        reason = "an HTTP answer is the error of a handler"
    )]
    fn take_refund(&self, wanted: Wanted) -> Result<Refund, Response> {
        let refusal = |code| failure(StatusCode::BAD_REQUEST, code);
        let orders = self.orders.lock();
        let order = orders
            .values()
            .find(|order| order.transaction_id == wanted.transaction_id)
            .ok_or_else(|| failure(StatusCode::NOT_FOUND, "RESOURCE_NOT_EXISTS"))?;
        let mut refunds = self.refunds.lock();
        if let Some(known) = refunds.get_mut(&wanted.out_refund_no) {
            let same = known.transaction_id == wanted.transaction_id
                && known.refund == wanted.amount.refund;
            known.asked += 1;
            return if same {
                Ok(known.clone())
            } else {
                Err(refusal("PARAM_ERROR"))
            };
        }
        let back: i64 = refunds
            .values()
            .filter(|refund| refund.transaction_id == wanted.transaction_id)
            .map(|refund| refund.refund)
            .sum();
        let amount = &wanted.amount;
        let fits = amount.refund > 0 && back + amount.refund <= order.total;
        if order.trade_state != "SUCCESS" || amount.total != order.total || !fits {
            return Err(refusal("INVALID_REQUEST"));
        }
        if amount.currency != "CNY" {
            return Err(refusal("PARAM_ERROR"));
        }
        let refund = Refund {
            out_refund_no: wanted.out_refund_no.clone(),
            out_trade_no: order.out_trade_no.clone(),
            transaction_id: wanted.transaction_id,
            refund: amount.refund,
            total: amount.total,
            status: "PROCESSING",
            notify_url: wanted.notify_url,
            asked: 1,
        };
        refunds.insert(wanted.out_refund_no, refund.clone());
        Ok(refund)
    }
}

pub(super) async fn refund(
    State(pay): State<Arc<Pay>>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refused) = pay.enter("refund", &method, &uri, &headers, &body).await {
        return refused;
    }
    let Ok(wanted) = serde_json::from_slice::<Wanted>(&body) else {
        return failure(StatusCode::BAD_REQUEST, "PARAM_ERROR");
    };
    let refund = match pay.take_refund(wanted) {
        Ok(refund) => refund,
        Err(refused) => return refused,
    };
    if refund.asked == 1 {
        tokio::spawn(work(Arc::clone(&pay), refund.out_refund_no.clone()));
    }
    pay.answer("refund", Some(&refund.answer())).await
}

/// The money goes back after a while, and the merchant is told.
async fn work(pay: Arc<Pay>, number: String) {
    tokio::time::sleep(WORK).await;
    let done = pay.refunds.lock().get_mut(&number).map(|refund| {
        refund.status = "SUCCESS";
        refund.clone()
    });
    if let Some(refund) = done
        && !refund.notify_url.is_empty()
    {
        notice::notify_refund(pay, refund).await;
    }
}

pub(super) async fn query(
    State(pay): State<Arc<Pay>>,
    Path(number): Path<String>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refused) = pay
        .enter("refund_query", &method, &uri, &headers, &body)
        .await
    {
        return refused;
    }
    let Some(refund) = pay.refunds.lock().get(&number).cloned() else {
        return failure(StatusCode::NOT_FOUND, "RESOURCE_NOT_EXISTS");
    };
    pay.answer("refund_query", Some(&refund.answer())).await
}
