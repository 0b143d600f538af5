//! Orders that are paid on three channels whatever is killed meanwhile, and whether everything that the
//! providers wrote down was credited, once, and every event applied. Time stamps are the machine's.

use std::{
    collections::{BTreeMap, HashSet},
    future::Future,
    time::Duration,
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::Mutex;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};
use uuid::Uuid;
use wanwu_events::{consumers_of, queue};

use super::{
    customers::engine_truth,
    paid_streams::{Books, End, Taken},
};
use crate::{
    journey::{Journey, Operator, fen, ledger_sum},
    stack::Stack,
};

const NANOS_OF_FEN: i64 = 10_000_000;
/// How long a client asks again before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a router's death may give away of a call.
const WINDOW: u64 = 64;
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

/// What is wrong, by the names of the claim.
#[derive(Clone, Debug, Default)]
pub(super) struct Wrong {
    pub imbalance: usize,
    pub not_credited: usize,
    pub credited_twice: usize,
    pub events_lost: usize,
    pub applied_twice: usize,
    pub misbilled: usize,
    pub lines: Vec<String>,
}

impl Wrong {
    pub(super) const fn all(&self) -> usize {
        self.imbalance
            + self.not_credited
            + self.credited_twice
            + self.events_lost
            + self.applied_twice
            + self.misbilled
    }

    pub(super) fn add(&mut self, other: Self) {
        self.imbalance += other.imbalance;
        self.not_credited += other.not_credited;
        self.credited_twice += other.credited_twice;
        self.events_lost += other.events_lost;
        self.applied_twice += other.applied_twice;
        self.misbilled += other.misbilled;
        self.lines.extend(other.lines);
    }

    pub(super) fn print(&self) {
        for line in self.lines.iter().take(20) {
            println!("  WRONG: {line}");
        }
        println!(
            "  imbalance {}, paid but not credited {}, credited twice {}, events lost {}, applied twice {}, calls billed wrongly {}",
            self.imbalance,
            self.not_credited,
            self.credited_twice,
            self.events_lost,
            self.applied_twice,
            self.misbilled
        );
    }
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

    /// Waits until what was paid is credited and no event waits; answers how long that took.
    pub(super) async fn settled(
        &self,
        customers: &[Journey],
        books: &Books,
        patience: Duration,
    ) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        books.settled(patience).await?;
        loop {
            let waiting = match self.waiting(customers).await {
                Ok(waiting) if waiting.is_empty() => return Ok(begin.elapsed()),
                Ok(waiting) => waiting,
                Err(error) => error.to_string(),
            };
            anyhow::ensure!(begin.elapsed() < patience, "after {patience:?}: {waiting}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn waiting(&self, customers: &[Journey]) -> anyhow::Result<String> {
        let mut events = 0;
        for service in self.stack.description().database.urls.keys() {
            let sql = "select (select count(*) from outbox where published_at is null)
                            + (select count(*) from inbox_retries)";
            let mut database = self.database(service).await?;
            events += sqlx::query_scalar::<_, i64>(sql)
                .fetch_one(&mut database)
                .await?;
        }
        let wrong = self.payments(customers).await?.not_credited;
        if events > 0 || wrong > 0 {
            return Ok(format!(
                "{events} events wait, {wrong} payments are not credited"
            ));
        }
        // The broker may hold some.
        let lost = self.events().await?.events_lost;
        Ok(match lost {
            0 => String::new(),
            lost => format!("{lost} events did not arrive"),
        })
    }

    async fn database(&self, service: &str) -> anyhow::Result<PgConnection> {
        let url = self.stack.description().database.urls.get(service);
        let url = url.context("the stack has no such database")?;
        Ok(PgConnection::connect(url).await?)
    }

    /// Everything that is wrong now, by the providers' own records.
    pub(super) async fn check(
        &self,
        customers: &[Journey],
        books: &Books,
    ) -> anyhow::Result<Wrong> {
        let mut wrong = self.payments(customers).await?;
        wrong.add(self.events().await?);
        let (sum, _) = ledger_sum(&self.stack).await?;
        if sum != "0" {
            wrong.imbalance += 1;
            wrong.lines.push(format!("the ledger sums to {sum}"));
        }
        let spent: i64 = books.bills().await?.values().map(|bill| bill.nanos).sum();
        let (available, leased) = books.balance().await?;
        let paid = self.paid_fen(customers).await? * NANOS_OF_FEN;
        if available + leased + spent != paid {
            wrong.applied_twice += 1;
            wrong.lines.push(format!(
                "{paid} paid, {spent} spent, {available} left, {leased} set aside"
            ));
        }
        Ok(wrong)
    }

    /// What the providers took for our orders, in fen by number.
    async fn taken(&self, customers: &[Journey]) -> anyhow::Result<BTreeMap<String, i64>> {
        let customer = customers.first().context("there are no customers")?;
        let (wechat, alipay) = customer.simulated().payment_truth().await?;
        let ours: HashSet<String> = self.ordered.lock().iter().cloned().collect();
        let mut taken = BTreeMap::new();
        for (number, order) in wechat["orders"].as_object().into_iter().flatten() {
            if ours.contains(number) && order["trade_state"] == "SUCCESS" {
                taken.insert(number.clone(), order["total"].as_i64().unwrap_or_default());
            }
        }
        for (number, trade) in alipay["trades"].as_object().into_iter().flatten() {
            if ours.contains(number) && trade["trade_status"] == "TRADE_SUCCESS" {
                let yuan = trade["total_amount"].as_str().unwrap_or_default();
                let fen = yuan.replace('.', "").parse().unwrap_or_default();
                // Paid at both: the first stays, the other goes back.
                taken.insert(number.clone(), fen);
            }
        }
        Ok(taken)
    }

    /// Everything that was paid by now: what customers began with, and what came since.
    async fn paid_fen(&self, customers: &[Journey]) -> anyhow::Result<i64> {
        let taken: i64 = self.taken(customers).await?.values().sum();
        let lines: i64 = self.lines.lock().iter().map(|line| line.fen).sum();
        let began: i64 = i64::try_from(customers.len())? * TOP_UP_FEN;
        Ok(began + taken + lines)
    }

    async fn payments(&self, customers: &[Journey]) -> anyhow::Result<Wrong> {
        let mut wrong = Wrong::default();
        let mut billing = self.database("billing").await?;
        let taken = self.taken(customers).await?;
        let ids: Vec<Uuid> = taken
            .keys()
            .filter_map(|number| number.parse().ok())
            .collect();
        let credits: Vec<(Uuid, i64)> = sqlx::query_as(
            "select cause_id, amount_nanos from transfers join entries using (transfer_id)
             where kind = 'top_up' and cause_id = any ($1) and amount_nanos > 0",
        )
        .bind(&ids)
        .fetch_all(&mut billing)
        .await?;
        let mut credited: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (order, nanos) in credits {
            let number = order.simple().to_string();
            credited
                .entry(number)
                .or_default()
                .push(nanos / NANOS_OF_FEN);
        }
        for (number, fen) in &taken {
            wrong.compare(
                number,
                *fen,
                credited.get(number).map_or(&[], Vec::as_slice),
            );
        }
        let lines = self.lines.lock().clone();
        let serials: Vec<_> = lines.iter().map(|line| line.serial.clone()).collect();
        let matches: Vec<(String, i64)> = sqlx::query_as(
            "select serial, m.amount_fen from bank_lines join bank_matches m using (bank_line_id)
             where serial = any ($1)",
        )
        .bind(serials)
        .fetch_all(&mut billing)
        .await?;
        for line in &lines {
            let matched = matches.iter().filter(|(serial, _)| *serial == line.serial);
            let matched: Vec<_> = matched.map(|(_, fen)| *fen).collect();
            wrong.compare(&line.serial, line.fen, &matched);
        }
        Ok(wrong)
    }

    /// Every event since the beginning was taken by the broker and applied by each of its consumers.
    async fn events(&self) -> anyhow::Result<Wrong> {
        let mut wrong = Wrong::default();
        let mut inboxes: BTreeMap<String, HashSet<Uuid>> = BTreeMap::new();
        let services: Vec<String> = self
            .stack
            .description()
            .database
            .urls
            .keys()
            .cloned()
            .collect();
        for service in &services {
            let mut database = self.database(service).await?;
            let rows: Vec<(String, Uuid)> =
                sqlx::query_as("select queue, event_id from inbox where applied_at >= $1")
                    .bind(self.since)
                    .fetch_all(&mut database)
                    .await?;
            for (queue, event) in rows {
                inboxes.entry(queue).or_default().insert(event);
            }
            let dead: i64 =
                sqlx::query_scalar("select count(*) from dead_letters where dead_at >= $1")
                    .bind(self.since)
                    .fetch_one(&mut database)
                    .await?;
            if dead > 0 {
                wrong.events_lost += usize::try_from(dead)?;
                wrong
                    .lines
                    .push(format!("{dead} dead letters in {service}"));
            }
        }
        for service in &services {
            let mut database = self.database(service).await?;
            let told: Vec<(Uuid, String, bool)> = sqlx::query_as(
                "select event_id, type, published_at is not null from outbox where created_at >= $1",
            )
            .bind(self.since)
            .fetch_all(&mut database)
            .await?;
            for (event, name, published) in told {
                for consumer in consumers_of(&name).unwrap_or_default() {
                    let inbox = inboxes.get(&queue(consumer, &name));
                    if !published || inbox.is_none_or(|inbox| !inbox.contains(&event)) {
                        wrong.events_lost += 1;
                        wrong
                            .lines
                            .push(format!("{name} {event} did not reach {consumer}"));
                    }
                }
            }
        }
        Ok(wrong)
    }
}

/// What every customer of these figures begins with.
pub(super) const TOP_UP_FEN: i64 = 10_000;

impl Wrong {
    /// Compares calls with what the engine sent: those that ended whole to the token, others within
    /// a progress window.
    pub(super) async fn check_calls(
        &mut self,
        stack: &Stack,
        books: &Books,
        customer: &Journey,
        calls: &[Taken],
    ) -> anyhow::Result<()> {
        let (bills, truth) = (books.bills().await?, engine_truth(stack, customer).await?);
        for call in calls {
            let Some(id) = &call.call_id else { continue };
            let sent = truth.get(id).map_or(0, |sent| sent.tokens);
            let right = match (bills.get(id), &call.end) {
                (None, _) => false,
                (Some(bill), End::Whole) => bill.output == sent,
                (Some(bill), _) => bill.output <= sent && bill.output + WINDOW > call.tokens,
            };
            if !right {
                self.misbilled += 1;
                let bill = bills.get(id);
                self.lines
                    .push(format!("{call:?}: {bill:?}, the engine sent {sent}"));
            }
        }
        Ok(())
    }

    /// What was taken against what was credited for it.
    fn compare(&mut self, what: &str, fen: i64, credited: &[i64]) {
        match credited {
            [] => self.not_credited += 1,
            [once] if *once == fen => return,
            _ => self.credited_twice += 1,
        }
        self.lines
            .push(format!("{what}: {fen} taken, {credited:?} credited"));
    }
}
