use std::{
    collections::HashMap,
    io::{Cursor, Write},
    sync::Arc,
};

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::{FixedOffset, NaiveDate};
use encoding_rs::GBK;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{Alipay, beijing};
use crate::simulators::faults::Kind;

/// Sends the bill that a signed answer named.
pub(super) async fn download(
    State(alipay): State<Arc<Alipay>>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Response {
    let day = parameters.get("day").and_then(|day| day.parse().ok());
    let Some(mut file) = day.and_then(|day| alipay.bill(day)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if alipay.faults.take("bill_file", Kind::Corrupt).is_some() {
        file.truncate(file.len() / 2);
    }
    file.into_response()
}

impl Alipay {
    /// The bill of what was paid on a day in China, as a ZIP; `None`: nothing was.
    pub(super) fn bill(&self, day: NaiveDate) -> Option<Vec<u8>> {
        let china = FixedOffset::east_opt(8 * 3600).expect("eight hours are an offset");
        let trades = self.trades.lock();
        let paid: Vec<_> = trades
            .values()
            .filter_map(|trade| Some((trade, trade.paid_at?)))
            .filter(|(_, at)| at.with_timezone(&china).date_naive() == day)
            .collect();
        let lines: Vec<String> = paid
            .iter()
            .map(|(trade, at)| {
                let (id, number, total) = (&trade.trade_no, &trade.out_trade_no, &trade.total_amount);
                format!(
                    "{id}\t,{number}\t,交易\t,万物账户充值\t,{at},{at},王*(138****0000)\t,{total},{total},\t\r\n",
                    at = beijing(*at)
                )
            })
            .collect();
        let list = format!(
            "#支付宝业务明细查询\r\n#账号：[{}0156]\r\n#起始日期：[{day} 00:00:00]\r\n\
             #-----------------------------------------业务明细列表----------------------------------------\r\n\
             支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,对方账户,订单金额（元）,商家实收（元）,备注\r\n\
             {}#-----------------------------------------业务明细列表结束------------------------------------\r\n\
             #交易合计：{}笔，商家实收共0.00元，商家优惠共0.00元\r\n#退款合计：0笔\r\n",
            self.config.seller_id,
            lines.concat(),
            lines.len(),
        );
        let sums = "#支付宝业务汇总查询\r\n".to_owned();
        (!paid.is_empty()).then(|| archive(&[("sums.csv", sums), ("list.csv", list)]))
    }
}

fn archive(files: &[(&str, String)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        let options = SimpleFileOptions::default();
        archive.start_file(*name, options).expect("memory takes it");
        let (bytes, _, _) = GBK.encode(text);
        archive.write_all(&bytes).expect("memory takes it");
    }
    archive.finish().expect("memory takes it").into_inner()
}
