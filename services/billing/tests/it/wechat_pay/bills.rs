//! The bill of a day: every paid order, as WeChat Pay writes it.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::*;

const HEAD: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,\
    交易状态,付款银行,货币种类,应结订单金额,代金券金额,商品名称,商户数据包,手续费,费率,订单金额,费率备注";
const TOTALS: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";

impl Provider {
    /// Writes the bill of everything that was paid.
    pub fn write_bill(&self) {
        let orders = self.orders.lock();
        let paid = orders
            .iter()
            .filter(|(_, order)| order.trade_state == "SUCCESS");
        let lines: Vec<String> = paid
            .map(|(number, order)| {
                let yuan = format!("{}.{:02}", order.total / 100, order.total % 100);
                let id = &order.transaction_id;
                format!(
                    "`2026-11-23 12:00:03,`{APPID},`{MCHID},`0,`,`{id},`{number},`oUpF8uMuAJO,`NATIVE,\
                     `SUCCESS,`OTHERS,`CNY,`{yuan},`0.00,`万物账户充值,`,`0.00,`0.60%,`{yuan},`"
                )
            })
            .collect();
        let count = lines.len();
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let file = format!("\u{feff}{HEAD}\r\n{lines}{TOTALS}\r\n`{count},`0,`0,`0,`0,`0,`0\r\n");
        *self.bill.lock() = Some(file);
    }
}

pub async fn place(
    State(pay): State<WechatPay>,
    Query(parameters): Query<HashMap<String, String>>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Response> {
    pay.enter(&method, &uri, &headers, b"")?;
    assert_eq!(parameters["bill_type"], "SUCCESS");
    let day = &parameters["bill_date"];
    let file = pay.bill.lock().clone();
    let file =
        file.ok_or_else(|| Provider::refuse(StatusCode::BAD_REQUEST, "NO_STATEMENT_EXIST"))?;
    let answer = json!({
        "hash_type": "SHA1",
        "hash_value": hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, file.as_bytes())),
        "download_url": format!("{}/v3/billdownload/file?token={day}", pay.base_url),
    });
    Ok(pay.answer(StatusCode::OK, Some(&answer)))
}

pub async fn download(
    State(pay): State<WechatPay>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Response> {
    pay.enter(&method, &uri, &headers, b"")?;
    pay.downloads.fetch_add(1, Ordering::SeqCst);
    let mut file = pay.bill.lock().clone().unwrap();
    if pay.swaps_bill.load(Ordering::SeqCst) {
        file.push(' ');
    }
    Ok(file.into_response())
}
