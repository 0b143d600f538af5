//! What an engine says of itself in its metrics: what it runs, for whichever router, and whether it is
//! still the process that it was.

use serde::Deserialize;

/// Whose metrics engines have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reports {
    /// They are not asked.
    #[default]
    None,
    /// vLLM's.
    Vllm,
    /// SGLang's.
    Sglang,
}

/// One reading of an engine's metrics. What it does not say is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EngineReport {
    /// Calls that it works on.
    pub running: u32,
    /// Calls that wait in its queue.
    pub waiting: u32,
    /// How much of its cache is taken, from 0 to 1.
    pub cache_usage: Option<f64>,
    /// Tokens of prompts that it looked for in its cache since it began, and those that it found.
    pub looked_up: Option<[f64; 2]>,
    /// The share that it found lately, where it says that itself.
    pub hit_share: Option<f64>,
    /// Tokens of prompts since it began: a count that only grows.
    pub prompt_tokens: Option<f64>,
    /// When its process began, in seconds of the Unix time.
    pub started_at: Option<f64>,
}

/// The names of one family's metrics.
struct Names {
    running: &'static str,
    waiting: &'static str,
    /// Newer names first.
    cache_usage: &'static [&'static str],
    looked_up: &'static [&'static str],
    found: &'static [&'static str],
    hit_share: &'static str,
    prompt_tokens: &'static str,
}

const VLLM: Names = Names {
    running: "vllm:num_requests_running",
    waiting: "vllm:num_requests_waiting",
    cache_usage: &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"],
    looked_up: &[
        "vllm:prefix_cache_queries_total",
        "vllm:prefix_cache_queries",
        "vllm:gpu_prefix_cache_queries_total",
        "vllm:gpu_prefix_cache_queries",
    ],
    found: &[
        "vllm:prefix_cache_hits_total",
        "vllm:prefix_cache_hits",
        "vllm:gpu_prefix_cache_hits_total",
        "vllm:gpu_prefix_cache_hits",
    ],
    hit_share: "",
    prompt_tokens: "vllm:prompt_tokens_total",
};

const SGLANG: Names = Names {
    running: "sglang:num_running_reqs",
    waiting: "sglang:num_queue_reqs",
    cache_usage: &["sglang:token_usage"],
    looked_up: &[],
    found: &[],
    hit_share: "sglang:cache_hit_rate",
    prompt_tokens: "sglang:prompt_tokens_total",
};

/// The same in both: the client library's own.
const STARTED_AT: &str = "process_start_time_seconds";
/// Two readings of one start differ by less, in seconds.
const SAME_START: f64 = 1.0;

impl EngineReport {
    /// Reads metrics in the text format of Prometheus; none: they are not this family's. Of several
    /// series of one name, as of the ranks of one engine, counts are added up and the fullest cache
    /// is taken.
    #[must_use]
    pub fn read(reports: Reports, text: &str) -> Option<Self> {
        let names = match reports {
            Reports::None => return None,
            Reports::Vllm => &VLLM,
            Reports::Sglang => &SGLANG,
        };
        let values = |name: &str| {
            let name = name.to_owned();
            text.lines().filter_map(move |line| value(line, &name))
        };
        let sum = |name: &str| values(name).reduce(|a, b| a + b);
        let most = |name: &str| values(name).reduce(f64::max);
        let first_sum = |names: &[&str]| names.iter().find_map(|name| sum(name));
        let looked_up = first_sum(names.looked_up).zip(first_sum(names.found));
        Some(Self {
            running: count(sum(names.running)?),
            waiting: count(sum(names.waiting).unwrap_or_default()),
            cache_usage: names.cache_usage.iter().find_map(|name| most(name)),
            looked_up: looked_up.map(|(all, found)| [all, found]),
            hit_share: most(names.hit_share),
            prompt_tokens: sum(names.prompt_tokens),
            started_at: most(STARTED_AT),
        })
    }

    /// It is another process than the one of `before`: what that had in its cache is gone.
    #[must_use]
    pub fn is_after_restart(&self, before: &Self) -> bool {
        let pair = |of: fn(&Self) -> Option<f64>| of(before).zip(of(self));
        let other_start = pair(|r| r.started_at).is_some_and(|(a, b)| (a - b).abs() > SAME_START);
        let fell = pair(|r| r.prompt_tokens).is_some_and(|(a, b)| b < a)
            || pair(|r| r.looked_up.map(|[all, _]| all)).is_some_and(|(a, b)| b < a);
        other_start || fell
    }

    /// The share of prompts' tokens that it found in its cache since `before`, or lately.
    #[must_use]
    pub fn found_since(&self, before: Option<&Self>) -> Option<f64> {
        let [all, found] = self.looked_up.unwrap_or_default();
        let [all_before, found_before] = before.and_then(|b| b.looked_up).unwrap_or_default();
        let looked_up = all - all_before;
        if looked_up > 0.0 {
            Some(((found - found_before) / looked_up).clamp(0.0, 1.0))
        } else {
            self.hit_share
        }
    }
}

/// The value of a line `name{labels} value` or `name value` with this very name.
fn value(line: &str, name: &str) -> Option<f64> {
    let rest = line.strip_prefix(name).filter(|_| !name.is_empty())?;
    let value = match rest.as_bytes().first()? {
        // A label's value may have a brace in it, a number has none.
        b'{' => &rest[rest.rfind('}')? + 1..],
        b' ' => rest,
        _ => return None,
    };
    let value: f64 = value.split_whitespace().next()?.parse().ok()?;
    value.is_finite().then_some(value)
}

fn count(value: f64) -> u32 {
    // Saturates, and what is below 0 is 0.
    value.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vllms_metrics_are_read_in_their_newer_and_older_names() {
        let text = "# HELP vllm:num_requests_running Number of requests in model execution batches.\n\
            # TYPE vllm:num_requests_running gauge\n\
            vllm:num_requests_running{engine=\"0\",model_name=\"a}b\"} 3.0\n\
            vllm:num_requests_running{engine=\"1\",model_name=\"a}b\"} 4.0\n\
            vllm:num_requests_waiting{engine=\"0\"} 2.0\n\
            vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 9.0\n\
            vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\n\
            vllm:kv_cache_usage_perc{engine=\"1\"} 0.75\n\
            vllm:prefix_cache_queries_total{engine=\"0\"} 1e3\n\
            vllm:prefix_cache_hits_total{engine=\"0\"} 250\n\
            vllm:prompt_tokens_total{engine=\"0\"} 1000.0\n\
            process_start_time_seconds 1.764e+09\n";
        let report = EngineReport::read(Reports::Vllm, text).unwrap();
        let expected = EngineReport {
            running: 7,
            waiting: 2,
            cache_usage: Some(0.75),
            looked_up: Some([1000.0, 250.0]),
            hit_share: None,
            prompt_tokens: Some(1000.0),
            started_at: Some(1.764e9),
        };
        assert_eq!(report, expected);
        let older = "vllm:num_requests_running 1\nvllm:gpu_cache_usage_perc 0.5\n\
            vllm:gpu_prefix_cache_queries_total 10\nvllm:gpu_prefix_cache_hits_total 5\n";
        let report = EngineReport::read(Reports::Vllm, older).unwrap();
        assert_eq!((report.running, report.waiting), (1, 0));
        assert_eq!(report.cache_usage, Some(0.5));
        assert_eq!(report.found_since(None), Some(0.5));
    }

    #[test]
    fn sglangs_metrics_are_read() {
        let text = "sglang:num_running_reqs{model_name=\"m\"} 5.0\nsglang:num_queue_reqs{model_name=\"m\"} 6.0\n\
            sglang:token_usage{model_name=\"m\"} 0.28\nsglang:cache_hit_rate{model_name=\"m\"} 0.007\n\
            sglang:prompt_tokens_total{model_name=\"m\"} 8.1e+06\n";
        let report = EngineReport::read(Reports::Sglang, text).unwrap();
        assert_eq!((report.running, report.waiting), (5, 6));
        assert_eq!(report.cache_usage, Some(0.28));
        assert_eq!(report.found_since(Some(&report)), Some(0.007));
        assert_eq!(report.prompt_tokens, Some(8.1e6));
    }

    #[test]
    fn what_is_not_the_familys_is_no_report() {
        for text in [
            "",
            "<html>",
            "vllm:num_requests_running NaN\n",
            "vllm:num_requests_running{",
        ] {
            assert_eq!(EngineReport::read(Reports::Vllm, text), None, "{text}");
        }
        let vllm = "vllm:num_requests_running 1\n";
        assert_eq!(EngineReport::read(Reports::Sglang, vllm), None);
        assert_eq!(EngineReport::read(Reports::None, vllm), None);
    }

    #[test]
    fn a_restart_is_another_start_or_a_count_that_fell() {
        let report = |started_at, tokens, all: f64| EngineReport {
            started_at,
            prompt_tokens: tokens,
            looked_up: Some([all, 0.0]),
            ..EngineReport::default()
        };
        let before = report(Some(100.0), Some(50.0), 50.0);
        assert!(!report(Some(100.4), Some(50.0), 60.0).is_after_restart(&before));
        assert!(report(Some(102.0), Some(50.0), 60.0).is_after_restart(&before));
        assert!(report(None, Some(49.0), 60.0).is_after_restart(&before));
        assert!(report(None, None, 49.0).is_after_restart(&before));
        assert!(!report(None, None, 50.0).is_after_restart(&before));
    }
}
