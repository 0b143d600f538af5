//! Orders: prepaid, asked about, closed.

use super::*;

/// What it says about an order.
pub fn transaction(number: &str, order: &Known) -> Value {
    json!({
        "mchid": MCHID,
        "appid": APPID,
        "out_trade_no": number,
        "transaction_id": order.transaction_id,
        "trade_type": "NATIVE",
        "trade_state": order.trade_state,
        "success_time": "2026-11-23T12:00:03+08:00",
        "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
        "amount": {"total": order.total, "payer_total": order.total, "currency": "CNY"},
    })
}

pub async fn prepay(
    State(pay): State<WechatPay>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    pay.enter(&method, &uri, &headers, &body)?;
    pay.prepays.fetch_add(1, Ordering::SeqCst);
    let asked: Value = serde_json::from_slice(&body).unwrap();
    pay.bodies
        .lock()
        .push((uri.path().to_owned(), asked.clone()));
    assert_eq!(
        (asked["mchid"].as_str(), asked["appid"].as_str()),
        (Some(MCHID), Some(APPID))
    );
    assert_eq!(asked["amount"]["currency"], "CNY");
    let number = asked["out_trade_no"].as_str().unwrap().to_owned();
    let known = Known {
        total: asked["amount"]["total"].as_i64().unwrap(),
        trade_state: "NOTPAY",
        transaction_id: String::new(),
        time_expire: asked["time_expire"].as_str().unwrap().to_owned(),
    };
    let mut orders = pay.orders.lock();
    let before = orders.entry(number.clone()).or_insert(known.clone());
    if before.total != known.total || before.time_expire != known.time_expire {
        return Err(Provider::refuse(StatusCode::FORBIDDEN, "OUT_TRADE_NO_USED"));
    }
    let given = match uri.path().rsplit('/').next().unwrap() {
        "h5" => {
            let address = asked["scene_info"]["payer_client_ip"].as_str().unwrap();
            address.parse::<std::net::IpAddr>().unwrap();
            json!({"h5_url": format!("https://wx.tenpay.com/checkmweb?prepay_id=wx{number}")})
        }
        "jsapi" => {
            assert!(asked["payer"]["openid"].is_string());
            json!({"prepay_id": format!("wx{number}")})
        }
        _ => json!({"code_url": format!("weixin://wxpay/bizpayurl?pr={number}")}),
    };
    Ok(pay.answer(StatusCode::OK, Some(&given)))
}

pub async fn query(
    State(pay): State<WechatPay>,
    Path(number): Path<String>,
    Query(parameters): Query<HashMap<String, String>>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Response> {
    pay.enter(&method, &uri, &headers, b"")?;
    pay.queries.fetch_add(1, Ordering::SeqCst);
    assert_eq!(parameters["mchid"], MCHID);
    let number = pay.confuses.lock().clone().unwrap_or(number);
    let known = pay.orders.lock().get(&number).cloned();
    let Some(known) = known else {
        let status = StatusCode::NOT_FOUND;
        if pay.signs_refusals.load(Ordering::SeqCst) {
            return Ok(pay.answer(status, Some(&json!({"code": "ORDER_NOT_EXIST"}))));
        }
        return Err(Provider::refuse(status, "ORDER_NOT_EXIST"));
    };
    // Slow enough that what must not happen meanwhile could.
    tokio::time::sleep(Duration::from_millis(5)).await;
    Ok(pay.answer(StatusCode::OK, Some(&transaction(&number, &known))))
}

pub async fn close(
    State(pay): State<WechatPay>,
    Path(number): Path<String>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    pay.enter(&method, &uri, &headers, &body)?;
    let mut orders = pay.orders.lock();
    let order = orders.get_mut(&number);
    let order = order.ok_or_else(|| Provider::refuse(StatusCode::NOT_FOUND, "ORDER_NOT_EXIST"))?;
    if order.trade_state == "SUCCESS" {
        return Err(Provider::refuse(StatusCode::BAD_REQUEST, "ORDERPAID"));
    }
    order.trade_state = "CLOSED";
    Ok(pay.answer(StatusCode::NO_CONTENT, None))
}
