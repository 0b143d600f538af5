//! Whether everything that the providers wrote down was credited, once, and every event applied.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use anyhow::Context;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};
use uuid::Uuid;
use wanwu_events::{consumers_of, queue};

use super::{
    super::{
        customers::engine_truth,
        paid_streams::{Books, End, Taken},
    },
    Payments, TOP_UP_FEN,
};
use crate::{
    journey::{Journey, ledger_sum},
    stack::Stack,
};

const NANOS_OF_FEN: i64 = 10_000_000;
/// What a router's death may give away of a call.
const WINDOW: u64 = 64;

/// What is wrong, by the names of the claim.
#[derive(Clone, Debug, Default)]
pub(in crate::figures) struct Wrong {
    pub imbalance: usize,
    pub not_credited: usize,
    pub credited_twice: usize,
    pub events_lost: usize,
    pub applied_twice: usize,
    pub misbilled: usize,
    pub lines: Vec<String>,
}

impl Wrong {
    pub(in crate::figures) const fn all(&self) -> usize {
        self.imbalance
            + self.not_credited
            + self.credited_twice
            + self.events_lost
            + self.applied_twice
            + self.misbilled
    }

    pub(in crate::figures) fn add(&mut self, other: Self) {
        self.imbalance += other.imbalance;
        self.not_credited += other.not_credited;
        self.credited_twice += other.credited_twice;
        self.events_lost += other.events_lost;
        self.applied_twice += other.applied_twice;
        self.misbilled += other.misbilled;
        self.lines.extend(other.lines);
    }

    pub(in crate::figures) fn print(&self) {
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

impl Payments {
    /// Waits until what was paid is credited and no event waits; answers how long that took.
    pub(in crate::figures) async fn settled(
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
    pub(in crate::figures) async fn check(
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

impl Wrong {
    /// Compares calls with what the engine sent: those that ended whole to the token, others within
    /// a progress window.
    pub(in crate::figures) async fn check_calls(
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
