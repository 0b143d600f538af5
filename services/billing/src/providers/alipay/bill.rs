//! The trade bill of a day: a ZIP of two CSV in GBK, the payments and their sums.

use std::io::{Cursor, Read};

use chrono::NaiveDate;
use encoding_rs::GBK;
use serde_json::{Value, json};
use uuid::Uuid;
use zip::ZipArchive;

use super::{Alipay, fen};
use crate::{
    domain::reconciliation::Payment,
    providers::{MAX_BILL, ProviderError},
};

/// Files that a bill has at most.
const MAX_FILES: usize = 16;

/// The payments of a day; `None`: there is no bill, or none yet.
pub(super) async fn fetch(
    alipay: &Alipay,
    day: NaiveDate,
) -> Result<Option<Vec<Payment>>, ProviderError> {
    let business = json!({"bill_type": "trade", "bill_date": day.to_string()});
    let method = "alipay.data.dataservice.bill.downloadurl.query";
    let answer = match alipay.call(method, &business, &[]).await {
        Ok(answer) => answer,
        Err(error) if error.code().eq_ignore_ascii_case("isp.bill_not_exist") => return Ok(None),
        Err(error) => return Err(error),
    };
    let address = answer.get("bill_download_url").and_then(Value::as_str);
    let address = address.ok_or(ProviderError::Unreadable)?;
    let archive = alipay.download(address).await?;
    let text = payments_file(&archive).ok_or(ProviderError::Unreadable)?;
    let payments = read(&text, alipay.seller_id()).ok_or(ProviderError::Unreadable)?;
    Ok(Some(payments))
}

/// The file of the archive that lists the payments; the others sum them up.
fn payments_file(archive: &[u8]) -> Option<String> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).ok()?;
    if archive.len() > MAX_FILES {
        return None;
    }
    for place in 0..archive.len() {
        let file = archive.by_index(place).ok()?;
        let mut content = Vec::new();
        // What it says of its size is not believed.
        let limit = u64::try_from(MAX_BILL).ok()? + 1;
        file.take(limit).read_to_end(&mut content).ok()?;
        if content.len() > MAX_BILL {
            return None;
        }
        let (text, _, broken) = GBK.decode(&content);
        if !broken && text.contains("\n支付宝交易号,") {
            return Some(text.into_owned());
        }
    }
    None
}

/// Reads the list: lines with `#` say whose it is and where it ends, the first other line names the
/// columns. Who paid stands there too and is not read.
fn read(text: &str, seller_id: &str) -> Option<Vec<Payment>> {
    let mut comments = text.lines().filter(|line| line.starts_with('#'));
    let ours = |line: &str| line.starts_with("#账号：") && line.contains(&format!("[{seller_id}"));
    let counted = comments.clone().find_map(count);
    if !comments.clone().any(ours) || !comments.any(|line| line.contains("业务明细列表结束"))
    {
        return None;
    }
    let mut lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let head = fields(lines.next()?);
    let place = |name| head.iter().position(|field| *field == name);
    let (number, order) = (place("支付宝交易号")?, place("商户订单号")?);
    let (kind, amount) = (place("业务类型")?, place("订单金额（元）")?);
    let mut payments = Vec::new();
    for line in lines {
        let fields = fields(line);
        if fields.len() != head.len() {
            return None;
        }
        if fields[kind] != "交易" {
            continue;
        }
        let transaction = fields[number];
        if !(1..=64).contains(&transaction.len()) {
            return None;
        }
        payments.push(Payment {
            transaction: transaction.to_owned(),
            order: Uuid::try_parse(fields[order]).ok(),
            fen: fen(fields[amount])?,
        });
    }
    (counted? == payments.len()).then_some(payments)
}

/// How many payments the last lines say that there are.
fn count(line: &str) -> Option<usize> {
    let (number, _) = line.strip_prefix("#交易合计：")?.split_once('笔')?;
    number.parse().ok()
}

fn fields(line: &str) -> Vec<&str> {
    line.split(',').map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BILL: &str = "#支付宝业务明细查询\r\n#账号：[20880000000000010156]\r\n\
        #起始日期：[2026年11月23日 00:00:00]   终止日期：[2026年11月24日 00:00:00]\r\n\
        #-----------------------------------------业务明细列表----------------------------------------\r\n\
        支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,对方账户,订单金额（元）,商家实收（元）,备注\r\n\
        2026112322001400000000000001\t,0193567a000070008000000000000001\t,交易\t,万物账户充值\t,\
        2026-11-23 12:00:00,2026-11-23 12:00:03,王*(138****0000)\t,12.34,12.27,\t\r\n\
        2026112322001400000000000002\t,x\t,退款\t,万物账户充值\t,\
        2026-11-23 12:00:00,2026-11-23 12:00:03,王*(138****0000)\t,-12.34,-12.27,\t\r\n\
        #-----------------------------------------业务明细列表结束------------------------------------\r\n\
        #交易合计：1笔，商家实收共12.27元，商家优惠共0.00元\r\n#退款合计：1笔\r\n#导出时间：[2026年11月24日 09:00:00]\r\n";

    #[test]
    fn payments_are_read_and_nothing_else() {
        let payments = read(BILL, "2088000000000001").unwrap();
        let order = Uuid::try_parse("0193567a-0000-7000-8000-000000000001").ok();
        assert_eq!(payments.len(), 1);
        assert_eq!((payments[0].order, payments[0].fen), (order, 1234));
        assert_eq!(payments[0].transaction, "2026112322001400000000000001");
    }

    #[test]
    fn a_bill_that_is_cut_or_another_merchants_is_not_read() {
        for (text, seller) in [
            (BILL.to_owned(), "2088000000000002"),
            (
                BILL.replace("#交易合计：1笔", "#交易合计：2笔"),
                "2088000000000001",
            ),
            (BILL.replace("业务明细列表结束", ""), "2088000000000001"),
            (BILL.replace("12.34,12.27", "12.34"), "2088000000000001"),
            (BILL.replace(",12.34,", ",12.345,"), "2088000000000001"),
            (String::new(), "2088000000000001"),
        ] {
            assert_eq!(read(&text, seller), None, "{text}");
        }
        assert_eq!(payments_file(b"no archive"), None);
    }
}
