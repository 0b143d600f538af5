//! The trade bill of a day: where it is comes signed, with the hash of the file.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use chrono::NaiveDate;
use reqwest::Method;
use serde::Deserialize;
use uuid::Uuid;

use super::WechatPay;
use crate::{
    domain::reconciliation::Payment,
    providers::{ProviderError, alipay::fen},
};

/// Where the file is, and what it must be.
#[derive(Debug, Deserialize)]
struct Place {
    hash_type: String,
    hash_value: String,
    download_url: String,
}

/// The successful payments of a day; `None`: there is no bill, or none yet.
pub(super) async fn fetch(
    pay: &WechatPay,
    day: NaiveDate,
) -> Result<Option<Vec<Payment>>, ProviderError> {
    let path = format!("/v3/bill/tradebill?bill_date={day}&bill_type=SUCCESS");
    let answer = match pay.call(Method::GET, &path, None).await {
        Ok(answer) => answer,
        Err(error) if matches!(error.code(), "NO_STATEMENT_EXIST" | "STATEMENT_CREATING") => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let place: Place = serde_json::from_value(answer).map_err(|_| ProviderError::Unreadable)?;
    let file = pay.download(&place.download_url).await?;
    let hash = hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &file));
    if place.hash_type != "SHA1" || !place.hash_value.eq_ignore_ascii_case(&hash) {
        return Err(ProviderError::Unreadable);
    }
    let payments = read(&file, pay.mchid()).ok_or(ProviderError::Unreadable)?;
    Ok(Some(payments))
}

/// Reads a file: a head, a line for each payment with a backtick before each field, the head of
/// the totals and the totals. Who paid stands there too and is not read.
fn read(file: &[u8], mchid: &str) -> Option<Vec<Payment>> {
    let text = std::str::from_utf8(file).ok()?;
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    let head: Vec<&str> = lines.next()?.split(',').map(str::trim).collect();
    let place = |name| head.iter().position(|field| *field == name);
    let merchant = place("商户号")?;
    let (number, order) = (place("微信订单号")?, place("商户订单号")?);
    let (currency, amount) = (place("货币种类")?, place("订单金额")?);
    let mut payments = Vec::new();
    for line in lines.by_ref().take_while(|line| line.starts_with('`')) {
        let fields = fields(line)?;
        if *fields.get(merchant)? != mchid || *fields.get(currency)? != "CNY" {
            return None;
        }
        payments.push(Payment {
            transaction: known_number(fields.get(number)?)?,
            order: Uuid::try_parse(fields.get(order)?).ok(),
            fen: fen(fields.get(amount)?)?,
        });
    }
    // The head of the totals is gone; their first field counts the payments.
    let totals = fields(lines.next()?)?;
    let count: usize = totals.first()?.parse().ok()?;
    (count == payments.len()).then_some(payments)
}

fn known_number(text: &str) -> Option<String> {
    (1..=64).contains(&text.len()).then(|| text.to_owned())
}

/// The fields of a line. What the payer bought may hold commas, so the backtick divides.
fn fields(line: &str) -> Option<Vec<&str>> {
    let line = line.trim_end_matches('\r').strip_prefix('`')?;
    Some(line.split(",`").map(str::trim).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,\
        交易状态,付款银行,货币种类,应结订单金额,代金券金额,商品名称,商户数据包,手续费,费率,订单金额,费率备注";
    const LINE: &str = "`2026-11-23 12:00:03,`wx01,`1900000001,`0,`,`4200000001202611230000000001,\
        `0193567a000070008000000000000001,`oUpF8,`NATIVE,`SUCCESS,`OTHERS,`CNY,`12.34,`0.00,`万物, 充值,`,`0.07000,`0.60%,`12.34,`";
    const TOTALS: &str = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";

    fn file(lines: &[&str], count: &str) -> String {
        let lines = lines.join("\r\n");
        format!(
            "\u{feff}{HEAD}\r\n{lines}\r\n{TOTALS}\r\n`{count},`12.34,`0.00,`0.00,`0.07,`12.34,`0.00\r\n"
        )
    }

    #[test]
    fn a_bill_is_read_by_the_names_of_its_columns() {
        let payments = read(file(&[LINE], "1").as_bytes(), "1900000001").unwrap();
        let order = Uuid::try_parse("0193567a-0000-7000-8000-000000000001").ok();
        assert_eq!(payments.len(), 1);
        assert_eq!((payments[0].order, payments[0].fen), (order, 1234));
        assert_eq!(payments[0].transaction, "4200000001202611230000000001");
    }

    #[test]
    fn a_bill_that_is_cut_or_another_merchants_is_not_read() {
        let whole = file(&[LINE, LINE], "2");
        assert_eq!(read(whole.as_bytes(), "1900000001").unwrap().len(), 2);
        for (text, mchid) in [
            (file(&[LINE], "2"), "1900000001"),
            (whole.clone(), "1900000002"),
            (whole.split(TOTALS).next().unwrap().to_owned(), "1900000001"),
            (whole.replace("CNY", "USD"), "1900000001"),
            (whole.replace("`12.34,`\r", "`12.345,`\r"), "1900000001"),
            (String::new(), "1900000001"),
        ] {
            assert_eq!(read(text.as_bytes(), mchid), None, "{text}");
        }
    }
}
