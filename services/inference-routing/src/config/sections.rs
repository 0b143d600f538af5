use std::{num::NonZeroU64, path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::domain::{
    breaker::BreakerLimits,
    engine_report::Reports,
    limits::Limits,
    placement::{PlacementLimits, Policy},
    shape::Shape,
};

/// `[chat]`: who may run how much at the same time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatConfig {
    /// Calls of one model that run at the same time.
    pub max_running: usize,
    /// Calls of one account that run at the same time, for each model.
    pub max_running_per_account: usize,
    /// Calls of one model that wait.
    pub max_waiting: usize,
    /// How long a call waits.
    #[serde(with = "humantime_serde")]
    pub queue_timeout: Duration,
    /// When a refused call should come again.
    #[serde(with = "humantime_serde")]
    pub retry_after: Duration,
    /// A stream whose first frame does not come for so long begins without it.
    #[serde(with = "humantime_serde")]
    pub begin_after: Duration,
    /// A client that takes nothing of its stream for so long is given up.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// How short an answer is of use where the client set no limit, in tokens.
    pub least_output_tokens: u64,
    /// Most tokens of an answer between two progress rows.
    pub progress_tokens: u64,
    /// Most time between two progress rows while something is sent.
    #[serde(with = "humantime_serde")]
    pub progress_every: Duration,
}

/// `[limits]`: what an account may call that has no limits of its own; 0: as much as it likes.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Calls begun in a minute.
    pub requests_per_minute: u64,
    /// Tokens of prompts and answers in a minute.
    pub tokens_per_minute: u64,
    /// Calls that run or wait at the same time.
    pub concurrent_calls: u64,
}

impl LimitsConfig {
    /// As a call is held to them.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits {
            requests_per_minute: NonZeroU64::new(self.requests_per_minute),
            tokens_per_minute: NonZeroU64::new(self.tokens_per_minute),
            concurrent_calls: NonZeroU64::new(self.concurrent_calls),
        }
    }
}

/// `[journal]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalConfig {
    /// How long the first row of a group waits for others.
    #[serde(with = "humantime_serde")]
    pub group_wait: Duration,
    /// Rows of a group at most.
    pub group_rows: usize,
    /// Entries that may wait; above it calls are refused.
    pub max_waiting: usize,
    /// A call whose dispatch row is not durable by then is refused.
    #[serde(with = "humantime_serde")]
    pub dispatch_timeout: Duration,
    /// A call whose final row is not durable by then ends with an error.
    #[serde(with = "humantime_serde")]
    pub final_timeout: Duration,
    /// How long one transaction may take.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// Before a transaction that failed is tried again.
    #[serde(with = "humantime_serde")]
    pub retry_wait: Duration,
}

/// `[epoch]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochConfig {
    /// How often the epoch is renewed.
    #[serde(with = "humantime_serde")]
    pub renew_every: Duration,
    /// Without a renewal for so long, new calls are refused.
    #[serde(with = "humantime_serde")]
    pub refuse_after: Duration,
    /// Without a renewal for so long, others take this process for dead.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
    /// How often others' epochs are looked at.
    #[serde(with = "humantime_serde")]
    pub recover_every: Duration,
}

/// `[leases]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseConfig {
    /// A lease is spent for so long.
    #[serde(with = "humantime_serde")]
    pub expiry: Duration,
    /// A lease without calls for so long goes back.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// How many holds of the call that needs it a new lease should cover.
    pub want_factor: i64,
    /// The least that a new lease should be, in 10^-9 CNY.
    pub want_nanos: i64,
    /// How long billing may take to answer.
    #[serde(with = "humantime_serde")]
    pub ask_timeout: Duration,
    /// How long a call waits for credit that is on its way back.
    #[serde(with = "humantime_serde")]
    pub shortage_wait: Duration,
    /// How often it looks.
    #[serde(with = "humantime_serde")]
    pub shortage_poll: Duration,
}

/// `[engines]`: limits of the way to every engine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineConfig {
    /// To connect.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// From the request to the first token.
    #[serde(with = "humantime_serde")]
    pub first_token_timeout: Duration,
    /// To the whole answer where nothing is streamed.
    #[serde(with = "humantime_serde")]
    pub answer_timeout: Duration,
    /// Between two tokens.
    #[serde(with = "humantime_serde")]
    pub token_timeout: Duration,
    /// A whole call.
    #[serde(with = "humantime_serde")]
    pub call_timeout: Duration,
    /// The longest event of a stream, in bytes.
    pub max_event_bytes: usize,
    /// The longest whole answer, in bytes.
    pub max_answer_bytes: usize,
    /// Engines that one call tries at most.
    pub max_attempts: usize,
    /// How often health is asked for.
    #[serde(with = "humantime_serde")]
    pub probe_every: Duration,
    /// How long an engine may take to say that it is well.
    #[serde(with = "humantime_serde")]
    pub probe_timeout: Duration,
    /// How long nothing may come from an engine, whatever its health, while `eject_after` calls wait: streams
    /// for their first token, and answers in one piece that are late by `answer_pace`.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// How long an answer in one piece is given for each token that it may have, or for each text that is
    /// embedded, before its call counts as one that waits: slower than any engine is that is well.
    #[serde(with = "humantime_serde")]
    pub answer_pace: Duration,
    /// How often the metrics of engines that report are read.
    #[serde(with = "humantime_serde")]
    pub report_every: Duration,
    /// Failures in a row after which an engine is left out; half of its last calls do it too.
    pub eject_after: u32,
    /// Failures of the way to it in a row after which it is left out; or lost probes, while nothing comes of
    /// calls.
    pub transport_eject_after: u32,
    /// How long it is left out before one call is on trial, the first time.
    #[serde(with = "humantime_serde")]
    pub first_backoff: Duration,
    /// And at most, as this doubles.
    #[serde(with = "humantime_serde")]
    pub longest_backoff: Duration,
    /// How long an engine that joined, or is trusted again, gets less than its share.
    #[serde(with = "humantime_serde")]
    pub slow_start: Duration,
    /// How often the engines of `dns:` and `file:` sources are read.
    #[serde(with = "humantime_serde")]
    pub discover_every: Duration,
    /// Blocks of prompts that are remembered of one engine.
    pub prefix_blocks: usize,
}

impl EngineConfig {
    /// The limits of every pool.
    #[must_use]
    pub const fn placement(&self) -> PlacementLimits {
        PlacementLimits {
            breaker: BreakerLimits {
                failures: self.eject_after,
                transport_failures: self.transport_eject_after,
                first_backoff: self.first_backoff,
                longest_backoff: self.longest_backoff,
            },
            stall: self.stall_timeout,
            slow_start: self.slow_start,
            blocks: self.prefix_blocks,
        }
    }
}

/// `[label]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelConfig {
    /// The provider's 27-character code.
    pub provider_code: String,
}

/// `[screen]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScreenConfig {
    /// The lexicon; none: the demonstration lexicon.
    #[serde(default)]
    pub lexicon_file: Option<PathBuf>,
}

/// `[[models]]`: one model of the catalogue.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The name that calls and the price list use.
    pub name: String,
    /// What it is for: `chat`, `embedding`.
    #[serde(default = "chat")]
    pub capability: String,
    /// The kinds of requests that all of its engines know; none: `chat`, or `embeddings`.
    #[serde(default)]
    pub shapes: Option<Vec<Shape>>,
    /// The engines' name of it; none: the same.
    #[serde(default)]
    pub engine_model: Option<String>,
    /// When it came into the catalogue, RFC 3339.
    pub created_at: chrono::DateTime<chrono::Utc>,
    /// Its context window, in tokens.
    pub context_tokens: u32,
    /// The limit of an answer where the client sets none, in tokens.
    #[serde(default)]
    pub default_max_tokens: u64,
    /// What the engine's template adds to a prompt at most, in tokens.
    pub template_allowance_tokens: u64,
    /// Its `tokenizer.json`, for calls whose engine does not say what they used; none: an estimate.
    #[serde(default)]
    pub tokenizer_file: Option<PathBuf>,
    /// The most tokens that its engines make of one image; none: they are refused.
    #[serde(default)]
    pub image_tokens: Option<u64>,
    /// The engines understand `continuous_usage_stats`.
    #[serde(default)]
    pub continuous_usage: bool,
    /// The last four characters of the provider code in labels, `0-9A-Z`; none: as configured.
    #[serde(default)]
    pub label_route: Option<String>,
    /// Where a `GET` says that an engine is well.
    #[serde(default = "health")]
    pub health_path: String,
    /// Calls of it that run at the same time in this replica; none: `chat.max_running`.
    #[serde(default)]
    pub max_running: Option<usize>,
    /// Which of its engines gets a call.
    #[serde(default = "prefix_aware")]
    pub policy: Policy,
    /// Whose metrics its engines have, at `/metrics`.
    #[serde(default)]
    pub reports: Reports,
    /// Its engines.
    pub engines: Vec<EngineAddress>,
}

/// `[[models.engines]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineAddress {
    /// Where it is, such as `http://10.0.0.7:8000`; `/v1/chat/completions` and the like are put after it. Or
    /// where more are: `dns:host:port`, `file:/path` (see [`crate::engine::discovery::Source`]).
    pub url: String,
    /// A file with the bearer token that it wants.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
}

const fn prefix_aware() -> Policy {
    Policy::PrefixAware
}

fn chat() -> String {
    "chat".to_owned()
}

fn health() -> String {
    "/health".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULTS;

    #[test]
    fn the_limits_of_placement_in_the_file_are_those_that_models_have() {
        let mut defaults: toml::Table = toml::from_str(DEFAULTS).unwrap();
        let engines: EngineConfig = defaults.remove("engines").unwrap().try_into().unwrap();
        assert_eq!(engines.placement(), PlacementLimits::DEFAULT);
    }
}
