use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::Bytes,
    extract::{OriginalUri, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::NaiveDate;
use serde_json::{Value, json};

use super::{Alipay, Trade, beijing, fen};
use crate::simulators::{faults::Kind, remember};

fn parameters(uri: &OriginalUri, body: &[u8]) -> BTreeMap<String, String> {
    let query = uri.query().unwrap_or_default().as_bytes();
    let query = url::form_urlencoded::parse(query).into_owned();
    query
        .chain(url::form_urlencoded::parse(body).into_owned())
        .collect()
}

fn refusal(code: &str) -> Value {
    json!({"code": "40004", "msg": "Business Failed", "sub_code": code, "sub_msg": code})
}

/// The payer's browser opens the page: the trade begins.
pub(super) async fn page(State(alipay): State<Arc<Alipay>>, uri: OriginalUri) -> Response {
    let parameters = parameters(&uri, b"");
    if !alipay.is_of_the_app(&parameters) || parameters["method"] != "alipay.trade.page.pay" {
        *alipay.refused.lock() += 1;
        return (StatusCode::BAD_REQUEST, "invalid-signature").into_response();
    }
    match alipay.begin(&parameters, "WAIT_BUYER_PAY") {
        Ok(number) => format!("<html>{number}</html>").into_response(),
        Err(code) => (StatusCode::BAD_REQUEST, code).into_response(),
    }
}

/// A call of the app.
pub(super) async fn call(
    State(alipay): State<Arc<Alipay>>,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let parameters = parameters(&uri, &body);
    remember(&alipay.requests, json!(parameters));
    let method = parameters.get("method").cloned().unwrap_or_default();
    let operation = match method.as_str() {
        "alipay.trade.precreate" => "precreate",
        "alipay.trade.query" => "query",
        "alipay.trade.close" => "close",
        "alipay.trade.refund" => "refund",
        "alipay.trade.fastpay.refund.query" => "refund_query",
        "alipay.data.dataservice.bill.downloadurl.query" => "bill",
        "alipay.open.app.alipaycert.download" => "certificate",
        _ => "unknown",
    };
    alipay.faults.delay(operation).await;
    if alipay.faults.take(operation, Kind::Refuse).is_some() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    if !alipay.is_of_the_app(&parameters) {
        *alipay.refused.lock() += 1;
        let node = json!({"code": "40002", "sub_code": "isv.invalid-signature"});
        return json!({"error_response": node}).to_string().into_response();
    }
    let acted = match operation {
        "bill" => alipay.place_of_bill(&parameters, &headers),
        "certificate" => alipay.certificate(&parameters),
        _ => alipay.act(operation, &parameters),
    };
    let mut node = acted.unwrap_or_else(|code| refusal(&code));
    if node.get("code").is_none() {
        node["code"] = json!("10000");
        node["msg"] = json!("Success");
    }
    if alipay.faults.take(operation, Kind::Lose).is_some() {
        std::future::pending::<()>().await;
    }
    let corrupt = alipay.faults.take(operation, Kind::Corrupt).is_some();
    let text = node.to_string();
    let signature = alipay.keys.sign(&text, corrupt);
    let name = method.replace('.', "_");
    let certificate = match &alipay.keys.certificates {
        Some(known) => format!(r#""alipay_cert_sn":"{}","#, known.alipay_number),
        None => String::new(),
    };
    format!(r#"{{"{name}_response":{text},{certificate}"sign":"{signature}"}}"#).into_response()
}

impl Alipay {
    fn is_of_the_app(&self, parameters: &BTreeMap<String, String>) -> bool {
        let is = |name: &str, value: &str| parameters.get(name).is_some_and(|v| v == value);
        is("app_id", &self.config.app_id)
            && is("sign_type", "RSA2")
            && is("charset", "utf-8")
            && is("version", "1.0")
            && parameters.contains_key("timestamp")
            && self.keys.verify(parameters)
    }

    /// Makes a trade, or a code (`status` empty) that becomes one when it is scanned.
    fn begin(
        &self,
        parameters: &BTreeMap<String, String>,
        status: &'static str,
    ) -> Result<String, String> {
        let business = business(parameters);
        let number = text(&business, "out_trade_no");
        let total_amount = text(&business, "total_amount");
        if number.is_empty() || fen(&total_amount).is_none() {
            return Err("ACQ.INVALID_PARAMETER".to_owned());
        }
        let mut trades = self.trades.lock();
        if let Some(known) = trades.get(&number) {
            let refused = match known.trade_status {
                "TRADE_SUCCESS" => Some("ACQ.TRADE_HAS_SUCCESS"),
                "TRADE_CLOSED" => Some("ACQ.TRADE_HAS_CLOSE"),
                _ if known.total_amount != total_amount => Some("ACQ.CONTEXT_INCONSISTENT"),
                _ => None,
            };
            if let Some(code) = refused {
                return Err(code.to_owned());
            }
        }
        trades.entry(number.clone()).or_insert_with(|| Trade {
            out_trade_no: number.clone(),
            total_amount,
            notify_url: parameters.get("notify_url").cloned().unwrap_or_default(),
            trade_status: status,
            trade_no: String::new(),
            paid_at: None,
            refunds: BTreeMap::new(),
            notices: Vec::new(),
            notice_micros: Vec::new(),
        });
        Ok(number)
    }

    /// Where the bill of a day is; unlike the provider it has one of today too.
    fn place_of_bill(
        &self,
        parameters: &BTreeMap<String, String>,
        headers: &HeaderMap,
    ) -> Result<Value, String> {
        let business = business(parameters);
        let day = text(&business, "bill_date").parse::<NaiveDate>();
        let day = day.map_err(|_| "isv.invalid-parameter")?;
        if text(&business, "bill_type") != "trade" || self.bill(day).is_none() {
            return Err("isp.bill_not_exist".to_owned());
        }
        let host = headers.get("host").and_then(|host| host.to_str().ok());
        let address = format!("http://{}/bill.zip?day={day}", host.unwrap_or_default());
        Ok(json!({"bill_download_url": address}))
    }

    /// The certificate of a number, in Base64.
    fn certificate(&self, parameters: &BTreeMap<String, String>) -> Result<Value, String> {
        let number = text(&business(parameters), "alipay_cert_sn");
        let known = self.keys.certificates.as_ref();
        let known = known.filter(|known| known.alipay_number == number);
        let known = known.ok_or("isv.invalid-cert-sn")?;
        Ok(json!({"alipay_cert_content": STANDARD.encode(&known.alipay_pem)}))
    }

    fn act(&self, operation: &str, parameters: &BTreeMap<String, String>) -> Result<Value, String> {
        if operation == "precreate" {
            let number = self.begin(parameters, "")?;
            let code = format!("https://qr.alipay.com/{number}");
            return Ok(json!({"out_trade_no": number, "qr_code": code}));
        }
        let business = business(parameters);
        let (number, trade_no) = (text(&business, "out_trade_no"), text(&business, "trade_no"));
        let mut trades = self.trades.lock();
        let trade = trades.values_mut().find(|trade| {
            !trade.trade_status.is_empty()
                && (trade.out_trade_no == number
                    || (!trade_no.is_empty() && trade.trade_no == trade_no))
        });
        let trade = trade.ok_or("ACQ.TRADE_NOT_EXIST")?;
        match operation {
            "query" => Ok(json!({
                "out_trade_no": trade.out_trade_no,
                "trade_no": trade.trade_no,
                "trade_status": trade.trade_status,
                "total_amount": trade.total_amount,
                "send_pay_date": trade.paid_at.map(beijing),
            })),
            "close" if trade.trade_status == "WAIT_BUYER_PAY" => {
                trade.trade_status = "TRADE_CLOSED";
                Ok(json!({"out_trade_no": trade.out_trade_no}))
            }
            "close" => Err("ACQ.TRADE_STATUS_ERROR".to_owned()),
            "refund" => trade.refund(&business),
            "refund_query" => Ok(trade.refund_of(&text(&business, "out_request_no"))),
            _ => Err("isv.invalid-method".to_owned()),
        }
    }
}

impl Trade {
    fn refund(&mut self, business: &Value) -> Result<Value, String> {
        let number = text(business, "out_request_no");
        let amount = fen(&text(business, "refund_amount")).ok_or("ACQ.INVALID_PARAMETER")?;
        let back: i64 = self.refunds.values().sum();
        let change = match self.refunds.get(&number) {
            Some(known) if *known == amount => "N",
            Some(_) => return Err("ACQ.DISCORDANT_REPEAT_REQUEST".to_owned()),
            None => {
                let total = fen(&self.total_amount).unwrap_or_default();
                if self.trade_status != "TRADE_SUCCESS" || back + amount > total {
                    return Err("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL".to_owned());
                }
                self.refunds.insert(number, amount);
                "Y"
            }
        };
        Ok(json!({
            "trade_no": self.trade_no,
            "out_trade_no": self.out_trade_no,
            "fund_change": change,
        }))
    }

    fn refund_of(&self, number: &str) -> Value {
        self.refunds.get(number).map_or_else(
            || json!({}),
            |amount| {
                json!({
                    "trade_no": self.trade_no,
                    "out_trade_no": self.out_trade_no,
                    "out_request_no": number,
                    "refund_amount": format!("{}.{:02}", amount / 100, amount % 100),
                    "refund_status": "REFUND_SUCCESS",
                })
            },
        )
    }
}

fn business(parameters: &BTreeMap<String, String>) -> Value {
    let content = parameters.get("biz_content").map_or("", String::as_str);
    serde_json::from_str(content).unwrap_or_default()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}
