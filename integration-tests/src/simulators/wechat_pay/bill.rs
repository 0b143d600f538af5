use std::{collections::HashMap, fmt::Write, sync::Arc};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::{
    body::Bytes,
    extract::{OriginalUri, Query, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
};
use chrono::{FixedOffset, NaiveDate};
use serde_json::json;

use super::{Pay, failure};
use crate::simulators::faults::Kind;

const HEAD: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,\
    付款银行,货币种类,应结订单金额,代金券金额,商品名称,商户数据包,手续费,费率,订单金额,费率备注";
const TOTALS: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";

/// Where the bill of a day is. Unlike the provider it has one of today too: of what was paid so far.
pub(super) async fn place(
    State(pay): State<Arc<Pay>>,
    Query(parameters): Query<HashMap<String, String>>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refused) = pay.enter("bill", &method, &uri, &headers, &body).await {
        return refused;
    }
    let day = parameters.get("bill_date").and_then(|day| day.parse().ok());
    let (Some(day), Some("SUCCESS")) = (day, parameters.get("bill_type").map(String::as_str))
    else {
        return failure(StatusCode::BAD_REQUEST, "PARAM_ERROR");
    };
    let Some(file) = pay.bill(day) else {
        return failure(StatusCode::BAD_REQUEST, "NO_STATEMENT_EXIST");
    };
    let host = headers.get("host").and_then(|host| host.to_str().ok());
    let answer = json!({
        "hash_type": "SHA1",
        "hash_value": hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, file.as_bytes())),
        "download_url": format!("http://{}/v3/billdownload/file?token={day}", host.unwrap_or_default()),
    });
    pay.answer("bill", Some(&answer)).await
}

pub(super) async fn download(
    State(pay): State<Arc<Pay>>,
    Query(parameters): Query<HashMap<String, String>>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refused) = pay.enter("bill_file", &method, &uri, &headers, &body).await {
        return refused;
    }
    let day = parameters.get("token").and_then(|day| day.parse().ok());
    let Some(mut file) = day.and_then(|day| pay.bill(day)) else {
        return failure(StatusCode::NOT_FOUND, "NO_STATEMENT_EXIST");
    };
    if pay.faults.take("bill_file", Kind::Corrupt).is_some() {
        file.push(' ');
    }
    file.into_response()
}

impl Pay {
    /// The bill of what was paid on a day in China; `None`: nothing was.
    fn bill(&self, day: NaiveDate) -> Option<String> {
        let china = FixedOffset::east_opt(8 * 3600).expect("eight hours are an offset");
        let orders = self.orders.lock();
        let (mut lines, mut count) = (String::new(), 0);
        for order in orders.values() {
            let Some(at) = order.success_time.map(|at| at.with_timezone(&china)) else {
                continue;
            };
            if at.date_naive() != day || order.trade_state != "SUCCESS" {
                continue;
            }
            count += 1;
            let yuan = format!("{}.{:02}", order.total / 100, order.total % 100);
            let _ = write!(
                lines,
                "`{},`{},`{},`0,`,`{},`{},`oUpF8uMuAJO_M2pxb1Q9zNjWeS6o,`NATIVE,`SUCCESS,`OTHERS,`CNY,\
                 `{yuan},`0.00,`万物账户充值,`,`0.00000,`0.60%,`{yuan},`\r\n",
                at.format("%Y-%m-%d %H:%M:%S"),
                self.config.appid,
                self.config.mchid,
                order.transaction_id,
                order.out_trade_no,
            );
        }
        let totals = format!("{TOTALS}\r\n`{count},`0.00,`0.00,`0.00,`0.00000,`0.00,`0.00\r\n");
        (count > 0).then(|| format!("\u{feff}{HEAD}\r\n{lines}{totals}"))
    }
}
