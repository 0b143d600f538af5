//! Refunds: asked for, asked about.

use super::*;

pub async fn refund(
    State(pay): State<WechatPay>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    pay.enter(&method, &uri, &headers, &body)?;
    let asked: Value = serde_json::from_slice(&body).unwrap();
    pay.bodies
        .lock()
        .push((uri.path().to_owned(), asked.clone()));
    let text = |name: &str| asked[name].as_str().unwrap().to_owned();
    let amount = asked["amount"]["refund"].as_i64().unwrap();
    let (number, transaction) = (text("out_refund_no"), text("transaction_id"));
    let state = *pay.refund_state.lock();
    let mut refunds = pay.refunds.lock();
    let known = refunds
        .entry(number.clone())
        .or_insert((transaction, amount, state))
        .clone();
    drop(refunds);
    Ok(pay.answer(StatusCode::OK, Some(&refund_status(&number, &known))))
}

pub async fn query(
    State(pay): State<WechatPay>,
    Path(number): Path<String>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Response> {
    pay.enter(&method, &uri, &headers, b"")?;
    let known = pay.refunds.lock().get(&number).cloned();
    let refusal = || Provider::refuse(StatusCode::NOT_FOUND, "RESOURCE_NOT_EXISTS");
    let known = known.ok_or_else(refusal)?;
    Ok(pay.answer(StatusCode::OK, Some(&refund_status(&number, &known))))
}

/// What it answers about a refund.
fn refund_status(
    number: &str,
    (transaction, amount, state): &(String, i64, &'static str),
) -> Value {
    json!({
        "refund_id": "50300807092026112300000000001",
        "out_refund_no": number,
        "transaction_id": transaction,
        "status": state,
        "amount": {"refund": amount, "total": amount, "currency": "CNY"},
    })
}
