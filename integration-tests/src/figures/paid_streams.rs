//! Paid streams as a figure's client sees them, and what the journal and billing wrote of them.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use serde_json::Value;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::customers::Bill;
use crate::{
    journey::Journey,
    load::{Stream, Target},
    stack::Stack,
};

/// Longer than any stream of a figure.
const LONGEST: Duration = Duration::from_secs(120);

/// How often books are looked at again.
const LOOK: Duration = Duration::from_millis(50);

/// How a stream ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With its last frame.
    Whole,
    /// The client went away.
    Left,
    /// It broke, and said so: by an error event, or by a connection that broke as well.
    Broken,
    /// It ended as one that is whole, without its last frame: a failure that its client cannot see.
    Hidden,
    /// It never began; what was said.
    Refused(String),
}

/// What a client was given.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    /// The call, where an answer named one.
    pub call_id: Option<String>,
    /// Tokens that came.
    pub tokens: u64,
    /// How it ended.
    pub end: End,
}

/// The way to a model for a customer.
pub(super) fn target(base: &str, customer: &Journey, mut body: Value) -> anyhow::Result<Target> {
    body["stream"] = true.into();
    let address = format!("{base}/v1/chat/completions");
    Target::new(
        &address,
        Some(customer.secret()),
        Bytes::from(body.to_string()),
    )
}

/// Takes a stream to its end, or leaves it after so many tokens.
pub(super) async fn take(target: &Target, leave_after: Option<u64>) -> Taken {
    let mut taken = Taken {
        call_id: None,
        tokens: 0,
        end: End::Broken,
    };
    let ended = timeout(LONGEST, read(target, leave_after, &mut taken)).await;
    match ended {
        Ok(Ok(end)) => taken.end = end,
        Ok(Err(refused)) if taken.call_id.is_none() => {
            taken.end = End::Refused(refused.to_string());
        }
        Ok(Err(_)) | Err(_) => {}
    }
    taken
}

async fn read(target: &Target, leave_after: Option<u64>, taken: &mut Taken) -> anyhow::Result<End> {
    let mut answer = Stream::open(target).await?;
    taken.call_id.clone_from(&answer.call_id);
    anyhow::ensure!(taken.call_id.is_some(), "the answer names no call");
    while let Some(event) = answer.next().await? {
        if &event.data[..] == b"[DONE]" {
            return Ok(End::Whole);
        }
        if event.data.starts_with(b"{\"error\"") {
            return Ok(End::Broken);
        }
        taken.tokens += u64::from(!event.text().is_empty());
        if leave_after.is_some_and(|tokens| taken.tokens >= tokens) {
            answer.hang_up();
            return Ok(End::Left);
        }
    }
    Ok(End::Hidden)
}

/// What the journal and billing wrote of some accounts, read as the services' own roles.
pub(super) struct Books {
    journal: PgPool,
    billing: PgPool,
    accounts: Vec<Uuid>,
}

/// What is not at its end yet.
struct Open {
    calls: i64,
    running: i64,
    bills: i64,
    /// What is set aside, in 10^-9 CNY.
    leased: i64,
}

impl Open {
    const fn is_billed(&self) -> bool {
        self.running == 0 && self.bills == self.calls
    }

    const fn is_settled(&self) -> bool {
        self.is_billed() && self.leased == 0
    }
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            calls,
            running,
            bills,
            leased,
        } = self;
        write!(
            f,
            "{running} of {calls} calls run, {bills} are billed, {leased} is set aside"
        )
    }
}

impl Books {
    /// The books of these customers.
    pub(super) fn of(stack: &Stack, customers: &[Journey]) -> anyhow::Result<Self> {
        let pool = |service: &str| {
            let url = stack.description().database.urls.get(service);
            let url = url.context("the stack has no such database")?;
            anyhow::Ok(PgPoolOptions::new().max_connections(2).connect_lazy(url)?)
        };
        let ids = customers.iter().filter_map(|customer| {
            let session = customer.session.as_ref()?;
            session.account_id.parse().ok()
        });
        Ok(Self {
            journal: pool("inference-routing")?,
            billing: pool("billing")?,
            accounts: ids.collect(),
        })
    }

    /// Waits until no call runs, each has its bill and nothing is set aside; answers how long.
    pub(super) async fn settled(&self, patience: Duration) -> anyhow::Result<Duration> {
        self.wait(patience, Open::is_settled).await
    }

    /// Waits until no call runs and each has its bill, whatever is set aside; answers how long.
    pub(super) async fn billed(&self, patience: Duration) -> anyhow::Result<Duration> {
        self.wait(patience, Open::is_billed).await
    }

    async fn wait(
        &self,
        patience: Duration,
        is_done: fn(&Open) -> bool,
    ) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        loop {
            let open = match self.open().await {
                Ok(open) if is_done(&open) => return Ok(begin.elapsed()),
                Ok(open) => open.to_string(),
                Err(error) => error.to_string(),
            };
            anyhow::ensure!(
                begin.elapsed() < patience,
                "not settled within {patience:?}: {open}"
            );
            sleep(LOOK).await;
        }
    }

    async fn open(&self) -> sqlx::Result<Open> {
        let (calls, running): (i64, i64) = sqlx::query_as(
            "select count(*), count(*) filter (where outcome = 0) from calls
             where account_id = any ($1)",
        )
        .bind(&self.accounts)
        .fetch_one(&self.journal)
        .await?;
        let bills: i64 =
            sqlx::query_scalar("select count(*) from calls where account_id = any ($1)")
                .bind(&self.accounts)
                .fetch_one(&self.billing)
                .await?;
        let (_, leased) = self.balance().await?;
        Ok(Open {
            calls,
            running,
            bills,
            leased,
        })
    }

    /// What all of them can spend, and what is set aside, in 10^-9 CNY.
    pub(super) async fn balance(&self) -> sqlx::Result<(i64, i64)> {
        sqlx::query_as(
            "select coalesce(sum(balance_nanos) filter (where kind = 'available'), 0)::bigint,
                    coalesce(sum(balance_nanos) filter (where kind = 'leased'), 0)::bigint
             from ledger_accounts where account_id = any ($1)",
        )
        .bind(&self.accounts)
        .fetch_one(&self.billing)
        .await
    }

    /// The bills by call. A call has one at most: its id is billing's primary key.
    pub(super) async fn bills(&self) -> sqlx::Result<BTreeMap<String, Bill>> {
        let rows: Vec<(Uuid, i64, i64, i64)> = sqlx::query_as(
            "select call_id, input_tokens, output_tokens, amount_nanos from calls
             where account_id = any ($1)",
        )
        .bind(&self.accounts)
        .fetch_all(&self.billing)
        .await?;
        let bill = |(id, input, output, nanos): (Uuid, i64, i64, i64)| {
            let bill = Bill {
                input: u64::try_from(input).unwrap_or_default(),
                output: u64::try_from(output).unwrap_or_default(),
                nanos,
            };
            (id.to_string(), bill)
        };
        Ok(rows.into_iter().map(bill).collect())
    }

    /// The highest cost that was held for a call of theirs, in 10^-9 CNY: each token may be of the dearest
    /// kind.
    pub(super) async fn highest_hold(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar(
            "select coalesce(max(
                 input_bound * greatest(input_price, (unit_prices->>'cached_input_token')::bigint,
                     (unit_prices->>'audio_input_token')::bigint,
                     (unit_prices->>'image_input_token')::bigint)
                 + output_bound * greatest(output_price, (unit_prices->>'reasoning_token')::bigint,
                     (unit_prices->>'audio_output_token')::bigint)), 0)::bigint
             from calls where account_id = any ($1)",
        )
        .bind(&self.accounts)
        .fetch_one(&self.journal)
        .await
    }
}
