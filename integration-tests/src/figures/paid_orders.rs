//! Orders that are paid on three channels whatever is killed meanwhile. Time stamps are the machine's.

mod oracle;

use std::{future::Future, time::Duration};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

pub(super) use oracle::Wrong;

use crate::{
    journey::{Journey, Operator, fen},
    stack::Stack,
};

/// What every customer of these figures begins with.
pub(super) const TOP_UP_FEN: i64 = 10_000;
/// How long a client asks again before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(100);

/// How an order is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Wechat,
    Alipay,
    Bank,
}

impl Channel {
    /// The three of them, in turn.
    pub(super) const fn of(number: usize) -> Self {
        match number % 3 {
            0 => Self::Wechat,
            1 => Self::Alipay,
            _ => Self::Bank,
        }
    }
}

/// A line of our bank's statement.
#[derive(Clone, Debug)]
struct BankLine {
    serial: String,
    fen: i64,
    reference: String,
    day: String,
}

/// What was ordered and paid.
pub(super) struct Payments {
    stack: Stack,
    operator: Operator,
    /// Since when events are looked at.
    since: DateTime<Utc>,
    /// Numbers at WeChat Pay and Alipay.
    ordered: Mutex<Vec<String>>,
    /// The bank's own record.
    lines: Mutex<Vec<BankLine>>,
    imported: Mutex<usize>,
}

/// Asks again until it is answered.
pub(super) async fn until_answered<T, E: std::error::Error + Send + Sync + 'static, F>(
    ask: impl Fn() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = Result<T, E>>,
{
    let begin = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if begin.elapsed() > PATIENCE => {
                return Err(error).context("asked for a minute");
            }
            Err(_) => sleep(AGAIN).await,
        }
    }
}

impl Payments {
    /// None yet. Its operator brings the bank's statements, for a quarter of an hour.
    pub(super) async fn new(stack: &Stack) -> anyhow::Result<Self> {
        Ok(Self {
            stack: stack.clone(),
            operator: Operator::with_roles(stack, &["finance"]).await?,
            since: Utc::now(),
            ordered: Mutex::default(),
            lines: Mutex::default(),
            imported: Mutex::default(),
        })
    }

    /// Orders and pays, as often as it takes until each step is answered.
    pub(super) async fn pay(
        &self,
        customer: &Journey,
        channel: Channel,
        amount_fen: i64,
    ) -> anyhow::Result<()> {
        let simulated = customer.simulated();
        match channel {
            Channel::Wechat => {
                let order = self.order(customer, "WECHAT_NATIVE", amount_fen).await?;
                until_answered(|| simulated.pay(&order)).await
            }
            Channel::Alipay => {
                let order = self.order(customer, "ALIPAY_PRECREATE", amount_fen).await?;
                until_answered(|| simulated.pay_at_alipay(&order)).await
            }
            Channel::Bank => self.transfer(customer, amount_fen).await,
        }
    }

    async fn order(
        &self,
        customer: &Journey,
        provider: &str,
        amount_fen: i64,
    ) -> anyhow::Result<String> {
        let body = json!({
            "requestId": Uuid::now_v7(),
            "amount": fen(amount_fen),
            "provider": format!("PAYMENT_PROVIDER_{provider}"),
        });
        let method = "wanwu.billing.v1.OrderService/CreateTopUpOrder";
        let answer = until_answered(|| customer.call_verified(method, body.clone())).await?;
        let order = answer["order"]["orderId"].as_str();
        let order = order.context("the answer has no order")?.to_owned();
        self.ordered.lock().push(order.replace('-', ""));
        Ok(order)
    }

    /// Pays an order of WeChat Pay at Alipay as well: one of the payments goes back.
    pub(super) async fn pay_twice(
        &self,
        customer: &Journey,
        amount_fen: i64,
    ) -> anyhow::Result<()> {
        let order = self.order(customer, "WECHAT_NATIVE", amount_fen).await?;
        let body = json!({"orderId": order, "provider": "PAYMENT_PROVIDER_ALIPAY_PRECREATE"});
        let method = "wanwu.billing.v1.OrderService/AddPaymentChannel";
        until_answered(|| customer.call_verified(method, body.clone())).await?;
        until_answered(|| customer.simulated().pay(&order)).await?;
        until_answered(|| customer.simulated().pay_at_alipay(&order)).await
    }

    /// Declares a transfer and writes it into the bank's record.
    async fn transfer(&self, customer: &Journey, amount_fen: i64) -> anyhow::Result<()> {
        let body = json!({
            "requestId": Uuid::now_v7(),
            "bankName": "中国工商银行",
            "accountNumber": "6222021234567890",
            "accountName": "北京某某科技有限公司",
            "amount": fen(amount_fen),
            "transferTime": Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        });
        let method = "wanwu.billing.v1.BankTransferService/DeclareBankTransfer";
        let answer = until_answered(|| customer.call_verified(method, body.clone())).await?;
        let reference = answer["bankTransfer"]["reference"].as_str();
        self.lines.lock().push(BankLine {
            serial: Uuid::now_v7().simple().to_string(),
            fen: amount_fen,
            reference: reference.context("the answer has no reference")?.to_owned(),
            day: Utc::now().format("%Y-%m-%d").to_string(),
        });
        Ok(())
    }

    /// Brings the bank's new lines, if there are so many; overlapping with the last statement, as
    /// statements do.
    pub(super) async fn import(&self, at_least: usize) -> anyhow::Result<()> {
        let before = *self.imported.lock();
        let lines = self.lines.lock().clone();
        if lines.len() < before + at_least.max(1) {
            return Ok(());
        }
        let mut statement = "serial,booked_at,amount,direction,account,remark\n".to_owned();
        for line in &lines[before.saturating_sub(10)..] {
            let (day, yuan, part) = (&line.day, line.fen / 100, line.fen % 100);
            statement += &format!(
                "{},{day},{yuan}.{part:02},credit,6222021234567890,{}\n",
                line.serial, line.reference
            );
        }
        let body = json!({
            "format": "BANK_STATEMENT_FORMAT_CSV",
            "content": STANDARD.encode(statement),
        });
        let method = "wanwu.billing.v1.BankTransferService/ImportBankStatement";
        until_answered(|| self.operator.call(method, body.clone())).await?;
        *self.imported.lock() = lines.len();
        Ok(())
    }

    /// How many were ordered or declared.
    pub(super) fn count(&self) -> usize {
        self.ordered.lock().len() + self.lines.lock().len()
    }
}
