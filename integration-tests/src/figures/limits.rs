//! Two hundred calls at once on limits for fifty, over one router replica and over four: how far what
//! was let through is from the limit, above and below, for requests, tokens and calls at a time.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use toml::Table;

use super::{
    Figure, Kind, Reading, Tier,
    customers::scripted,
    model_path::{ModelPath, Wanted},
};
use crate::{
    journey::Journey,
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
/// A call that was refused for another reason than a limit is made again so often.
const TRIES: usize = 5;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "limits",
        claim: "200 calls at once on limits for 50, over 1 and 4 replicas: error of each limit, never above what ADR 9 states",
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
    let mut journey = Journey::ready_to_call(&stack, 1_000_000).await?;
    println!("  {CALLS} calls at once on a key's limit for {FOR}; errors in calls");
    println!("  replicas  limit     let through  above it  below it (stated: at most)");
    let (mut above, mut below, mut stated): (f64, f64, bool) = (0.0, 0.0, true);
    for replicas in [1, 4] {
        let wanted = Wanted {
            figure: "limits",
            engines: 1,
            routers: replicas,
            policy: None,
            limits: Table::new(),
        };
        let path = ModelPath::start(&stack, wanted).await?;
        for _ in 0..rounds {
            let mut keys = Vec::new();
            for limited in ALL {
                keys.push((limited, limited_key(&mut journey, limited).await?));
            }
            sleep(HOLDS).await;
            for (limited, secret) in keys {
                let seen = at_once(&path, limited, &secret, replicas as u64).await?;
                println!("  {replicas:>8}  {limited:<9?} {seen}");
                above = above.max(seen.above);
                below = below.max(seen.below);
                stated &= seen.is_as_stated();
            }
        }
    }
    Ok(Reading {
        figure: format!("{above:.1} / {below:.1}"),
        unit: format!("calls above / below limits for {FOR} at worst, 1 and 4 replicas"),
        goal: "0 / what is stated for each".to_owned(),
        holds: stated,
    })
}

/// A new key with this limit.
async fn limited_key(journey: &mut Journey, limited: Limited) -> anyhow::Result<String> {
    let key = journey.key().await?.clone();
    let body = json!({"keyId": key.key_id, "limits": limited.setting()});
    journey
        .call("wanwu.inference.v1.LimitService/SetLimits", body)
        .await?;
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
