//! Two hundred calls at once on limits for fifty of a key, an app and an account, over one router replica
//! and over four: how far what was let through is from the limit, above and below, for requests, tokens
//! and calls at a time. With `--full` also twice a limit for minutes, while a router is killed.

mod minutes;

use std::{fmt, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use toml::Table;

use super::{
    Figure, Kind, Reading, Tier,
    customers::scripted,
    model_path::{ModelPath, Wanted},
};
use crate::{
    journey::{Journey, Operator},
    load::{Stream, Target},
    stack::Stack,
};

const CALLS: usize = 200;
/// What each limit is for.
const FOR: u64 = 50;
/// What each call uses of a limit of tokens: two of its prompt and the rest of its answer.
const TOKENS: u64 = 20;
const PROMPT_TOKENS: u64 = 2;
/// One of so many parts of a limit may be held unused by another replica (ADR 9).
const PARTS: u64 = 32;
/// A changed limit holds everywhere after so long.
const HOLDS: Duration = Duration::from_millis(2500);
/// An edge that started is connected to every router after so long.
const CONNECTED: Duration = Duration::from_millis(500);
/// A call that was refused for another reason than a limit is made again so often.
const TRIES: usize = 5;
const TOP_UP_FEN: i64 = 1_000_000;
const SERVICE: &str = "wanwu.inference.v1.LimitService";

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "limits",
        claim: "200 calls at once on limits for 50 of key, app and account, over 1 and 4 replicas; --full: twice a limit for 3 minutes, a router killed: error of each limit, never above it, below by what ADR 9 states",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

/// What is limited.
#[derive(Clone, Copy, Debug)]
enum Limited {
    /// Calls begun in a minute.
    Requests,
    /// Tokens in a minute.
    Tokens,
    /// Calls at a time.
    Calls,
}

const ALL: [Limited; 3] = [Limited::Requests, Limited::Tokens, Limited::Calls];

/// Whose limit it is.
#[derive(Clone, Copy, Debug)]
enum Level {
    Key,
    App,
    Account,
}

const LEVELS: [Level; 3] = [Level::Key, Level::App, Level::Account];

impl Limited {
    /// What one call uses of it.
    const fn unit(self) -> u64 {
        match self {
            Self::Requests | Self::Calls => 1,
            Self::Tokens => TOKENS,
        }
    }

    const fn limit(self) -> u64 {
        FOR * self.unit()
    }

    /// As the limit service takes it.
    fn setting(self) -> Value {
        let field = match self {
            Self::Requests => "requestsPerMinute",
            Self::Tokens => "tokensPerMinute",
            Self::Calls => "concurrentCalls",
        };
        json!({field: self.limit().to_string()})
    }

    /// What may fill in while calls come.
    fn filled(self, while_for: Duration) -> f64 {
        match self {
            Self::Requests | Self::Tokens => self.limit() as f64 * while_for.as_secs_f64() / 60.0,
            Self::Calls => 0.0,
        }
    }

    /// How much less than the limit may be let through: one part for each other replica, and in each
    /// what is too little for a call.
    fn may_be_less(self, replicas: u64) -> u64 {
        (replicas - 1) * (self.limit() / PARTS) + replicas * (self.unit() - 1)
    }

    fn body(self) -> Bytes {
        // A call that is one of so many at a time stays until all the others have been decided.
        let (tokens, delay) = match self {
            Self::Requests | Self::Tokens => (TOKENS - PROMPT_TOKENS, 0),
            Self::Calls => (100_000, 200),
        };
        let mut body = scripted(json!({"tokens": tokens, "delay_ms": delay}));
        body["max_tokens"] = json!(tokens);
        body["stream"] = json!(true);
        Bytes::from(body.to_string())
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let rounds = match tier {
        Tier::Quick => 1,
        Tier::Full => 10,
    };
    println!("  {CALLS} calls at once on a limit for {FOR}; errors in calls");
    println!("  replicas  whose    limit     let through  above it  below it (stated: at most)");
    let (mut above, mut below, mut stated): (f64, f64, bool) = (0.0, 0.0, true);
    for replicas in [1, 4] {
        let mut owner = Journey::ready_to_call(&stack, TOP_UP_FEN).await?;
        let support = Operator::with_roles(&stack, &["support"]).await?;
        let mut keys = limited_keys(&stack, &mut owner, &support).await?;
        let mut holds = Instant::now() + HOLDS;
        // It starts while the limits begin to hold.
        let path = start(&stack, replicas).await?;
        holds = holds.max(Instant::now() + CONNECTED);
        for round in 1..=rounds {
            sleep_until(holds).await;
            for (level, limited, secret) in std::mem::take(&mut keys) {
                let seen = at_once(&path, limited, &secret, replicas as u64).await?;
                let (whose, limit) = (format!("{level:?}"), format!("{limited:?}"));
                println!("  {replicas:>8}  {whose:<7}  {limit:<8}  {seen}");
                above = above.max(seen.above);
                below = below.max(seen.below);
                stated &= seen.is_as_stated();
            }
            if round < rounds {
                keys = limited_keys(&stack, &mut owner, &support).await?;
                holds = Instant::now() + HOLDS;
            }
        }
    }
    let mut over_minutes = String::new();
    if tier == Tier::Full {
        let seen = minutes::measure(&stack).await?;
        stated &= seen.is_as_stated();
        over_minutes = format!("; {seen}");
    }
    Ok(Reading {
        figure: format!("{above:.1} / {below:.1}"),
        unit: format!(
            "calls above / below limits for {FOR} of key, app and account at worst, 1 and 4 replicas{over_minutes}"
        ),
        goal: "0 / what is stated for each".to_owned(),
        holds: stated,
    })
}

async fn start(stack: &Stack, routers: usize) -> anyhow::Result<ModelPath> {
    let wanted = Wanted {
        figure: "limits",
        engines: 1,
        routers,
        policy: None,
        limits: Table::new(),
    };
    ModelPath::start(stack, wanted).await
}

/// A new key for each limit of each level.
async fn limited_keys(
    stack: &Stack,
    owner: &mut Journey,
    support: &Operator,
) -> anyhow::Result<Vec<(Level, Limited, String)>> {
    let mut keys = Vec::new();
    for level in LEVELS {
        for limited in ALL {
            let secret = limited_key(stack, owner, support, level, limited).await?;
            keys.push((level, limited, secret));
        }
    }
    Ok(keys)
}

/// A new key that one limit holds for: its own, that of an app of its own, or that of an account that has
/// not called yet. What was taken of the platform's wider limit for accounts would go back first.
async fn limited_key(
    stack: &Stack,
    owner: &mut Journey,
    support: &Operator,
    level: Level,
    limited: Limited,
) -> anyhow::Result<String> {
    let limits = limited.setting();
    match level {
        Level::Key => key_with(owner, limits).await,
        Level::App => {
            // The owner's own app stays without a limit.
            let mut other = owner.clone();
            let app_id = other.app("limited").await?.app_id.clone();
            let body = json!({"appId": app_id, "limits": limits});
            owner.call(&format!("{SERVICE}/SetLimits"), body).await?;
            Ok(other.key().await?.secret.clone())
        }
        Level::Account => {
            let account = Journey::ready_to_call(stack, TOP_UP_FEN).await?;
            let session = account.session.as_ref().context("nobody registered")?;
            let body = json!({"accountId": session.account_id, "limits": limits});
            let method = format!("{SERVICE}/SetAccountLimits");
            support.call(&method, body).await?;
            Ok(account.secret().to_owned())
        }
    }
}

/// A new key with these limits.
async fn key_with(owner: &mut Journey, limits: Value) -> anyhow::Result<String> {
    let key = owner.key().await?.clone();
    let body = json!({"keyId": key.key_id, "limits": limits});
    owner.call(&format!("{SERVICE}/SetLimits"), body).await?;
    Ok(key.secret)
}

/// How far from its limit something was, in calls.
struct Error {
    passed: usize,
    above: f64,
    below: f64,
    may_be_less: f64,
}

impl Error {
    fn is_as_stated(&self) -> bool {
        self.above <= 0.0 && self.below <= self.may_be_less
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            above,
            below,
            may_be_less,
        } = self;
        write!(
            f,
            "{passed:>11}  {above:>8.1}  {below:>8.1} ({may_be_less:.1})"
        )
    }
}

async fn at_once(
    path: &ModelPath,
    limited: Limited,
    secret: &str,
    replicas: u64,
) -> anyhow::Result<Error> {
    let address = format!("{}/v1/chat/completions", path.base());
    let target = Target::new(&address, Some(secret), limited.body())?;
    path.engines[0].counted().await?;
    let begin = Instant::now();
    let outcomes = join_all((0..CALLS).map(|_| one(&target))).await;
    let elapsed = begin.elapsed();
    let mut open = Vec::new();
    for outcome in outcomes {
        open.extend(outcome?);
    }
    let passed = open.len();
    let most = path.engines[0].counted().await?.most_at_once;
    for stream in open {
        match limited {
            Limited::Calls => stream.hang_up(),
            Limited::Requests | Limited::Tokens => drop(stream.all().await?),
        }
    }
    let unit = limited.unit() as f64;
    let limit = limited.limit() as f64;
    let used = match limited {
        Limited::Calls => most.max(passed as u64) as f64,
        Limited::Requests | Limited::Tokens => passed as f64 * unit,
    };
    let filled = limited.filled(elapsed);
    Ok(Error {
        passed,
        above: ((used - limit - filled) / unit).max(0.0),
        below: ((limit - passed as f64 * unit) / unit).max(0.0),
        may_be_less: limited.may_be_less(replicas) as f64 / unit,
    })
}

/// One call: its stream, or none where a limit refused it.
async fn one(target: &Target) -> anyhow::Result<Option<Stream>> {
    let mut last = None;
    for _ in 0..TRIES {
        match Stream::open(target).await {
            Ok(stream) => return Ok(Some(stream)),
            Err(error) if error.to_string().contains("rate_limit_exceeded") => return Ok(None),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no call was made")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_as_stated_within_the_parts_of_other_replicas() {
        assert_eq!(Limited::Requests.may_be_less(1), 0);
        assert_eq!(Limited::Requests.may_be_less(4), 3);
        assert_eq!(Limited::Tokens.may_be_less(1), 19);
        let error = |above, below| Error {
            passed: 0,
            above,
            below,
            may_be_less: 6.0,
        };
        assert!(error(0.0, 6.0).is_as_stated());
        assert!(!error(0.1, 0.0).is_as_stated());
        assert!(!error(0.0, 6.1).is_as_stated());
    }
}
