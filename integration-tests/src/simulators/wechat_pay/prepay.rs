use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{OriginalUri, State},
    http::{HeaderMap, Method, StatusCode},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Order, Pay, failure};

#[derive(Deserialize)]
struct Prepay {
    appid: String,
    mchid: String,
    out_trade_no: String,
    notify_url: String,
    amount: PrepayAmount,
    #[serde(default)]
    scene_info: Value,
    #[serde(default)]
    payer: Value,
}

#[derive(Deserialize)]
struct PrepayAmount {
    total: i64,
    currency: String,
}

pub(super) async fn prepay(
    State(pay): State<Arc<Pay>>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refused) = pay.enter("prepay", &method, &uri, &headers, &body).await {
        return refused;
    }
    let Ok(wanted) = serde_json::from_slice::<Prepay>(&body) else {
        return failure(StatusCode::BAD_REQUEST, "PARAM_ERROR");
    };
    let ours = wanted.mchid == pay.config.mchid && wanted.appid == pay.config.appid;
    if !ours || wanted.amount.total <= 0 || wanted.amount.currency != "CNY" {
        return failure(StatusCode::BAD_REQUEST, "PARAM_ERROR");
    }
    let Some(given) = given(uri.path(), &wanted) else {
        return failure(StatusCode::BAD_REQUEST, "PARAM_ERROR");
    };
    {
        let mut orders = pay.orders.lock();
        match orders.get(&wanted.out_trade_no) {
            Some(order) if order.trade_state == "SUCCESS" => {
                return failure(StatusCode::FORBIDDEN, "ORDERPAID");
            }
            Some(order) if order.trade_state == "CLOSED" => {
                return failure(StatusCode::BAD_REQUEST, "ORDER_CLOSED");
            }
            Some(order) if order.total != wanted.amount.total => {
                return failure(StatusCode::FORBIDDEN, "OUT_TRADE_NO_USED");
            }
            _ => {}
        }
        orders.entry(wanted.out_trade_no.clone()).or_insert(Order {
            out_trade_no: wanted.out_trade_no,
            total: wanted.amount.total,
            notify_url: wanted.notify_url,
            trade_state: "NOTPAY",
            transaction_id: String::new(),
            success_time: None,
            notices: Vec::new(),
            notice_micros: Vec::new(),
        });
    }
    pay.answer("prepay", Some(&given)).await
}

/// What the payer scans or opens, or what the page needs; `None`: the payer is not named.
fn given(path: &str, wanted: &Prepay) -> Option<Value> {
    let number = &wanted.out_trade_no;
    if path.ends_with("/h5") {
        let address = wanted.scene_info["payer_client_ip"].as_str()?;
        address.parse::<std::net::IpAddr>().ok()?;
        let page =
            format!("https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id={number}");
        return Some(json!({"h5_url": page}));
    }
    if path.ends_with("/jsapi") {
        wanted.payer["openid"]
            .as_str()
            .filter(|openid| !openid.is_empty())?;
        return Some(json!({"prepay_id": format!("wx{number}")}));
    }
    Some(json!({"code_url": format!("weixin://wxpay/bizpayurl?pr={number}")}))
}
