//! A trace through edge, routers and eight scripted engines as processes, each of which batches calls as real
//! ones do and has memory for as many tokens as it keeps. Time runs faster than in the trace; what is found in
//! caches depends on choices only.

use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use serde_json::{Value, json};
use toml::Table;

use super::{
    customers::scripted,
    model_path::{ModelPath, Seen, Shot, Wanted, send_each},
    rig,
    routing_trace::{BEGINNING, Request},
};
use crate::{
    journey::Journey,
    load::{Target, quantile},
    stack::Stack,
};

/// Engines that the trace goes to.
const ENGINES: usize = 8;
/// So many seconds of the trace are one here.
pub(super) const FASTER: u64 = 60;
/// Bytes of text that stand for a block, as many as engines and our router count for one.
const BLOCK: usize = 512;
/// Frames of an answer; each stands for a share of its tokens.
const FRAMES: u64 = 8;
const TOP_UP_FEN: i64 = 5_000_000;
/// Longer than one answer to all.
const ANYBODY: i64 = 1_000_000;

/// Engines, routers of the release and an edge, with nothing that would refuse a customer who sends
/// everything; and how that customer calls.
pub(super) async fn start(
    stack: &Stack,
    figure: &'static str,
    routers: usize,
    policy: Option<&'static str>,
) -> anyhow::Result<(ModelPath, Target)> {
    let unlimited = [
        "requests_per_minute",
        "tokens_per_minute",
        "concurrent_calls",
    ];
    let limits: Table = unlimited
        .map(|name| (name.to_owned(), 0.into()))
        .into_iter()
        .collect();
    let most = ["max_running", "max_running_per_account", "max_waiting"];
    let chat = most.map(|name| (name.to_owned(), ANYBODY.into()));
    let sections = Table::from_iter([
        ("limits".to_owned(), limits.into()),
        ("chat".to_owned(), Table::from_iter(chat).into()),
    ]);
    let wanted = Wanted {
        figure,
        engines: ENGINES,
        routers,
        policy,
        limits: Table::new(),
    };
    // Release programs, as those of the others are.
    let path = ModelPath::start_released(stack, wanted, &sections, &rig::release()?).await?;
    let journey = Journey::ready_to_call(stack, TOP_UP_FEN).await?;
    let url = format!("{}/v1/chat/completions", path.base());
    let target = Target::new(&url, Some(journey.secret()), Bytes::new())?;
    Ok((path, target))
}

/// What one replay showed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    /// Blocks found, in per cent.
    pub found: f64,
    /// Its median and its ninth decile, as the client sees it.
    pub first_token: [Duration; 2],
    /// The same at the engine, from when the call came there: what placement decides. The way there and back is
    /// not as many times faster as the trace, so that it counts for more here than it is.
    pub at_engine: [Duration; 2],
    /// The calls of the busiest engine in comparison with the mean.
    pub busiest: f64,
    /// Calls without a whole answer.
    pub failed: usize,
    /// Of those, calls whose client takes what it got for one.
    pub hidden: usize,
    /// Of those, ones that ended in the second half of the trace.
    pub failed_late: usize,
}

impl Shown {
    /// What the columns are.
    pub(super) fn print_head() {
        println!(
            "  {ENGINES} engines that read 8,000 tokens a second, each step 6 ms and 0.35 ms for each call that runs, with memory for the blocks that they keep, {FASTER} times as fast; all as processes"
        );
        println!(
            "  blocks  router                      found  first token p50     p90  at engine p50     p90  busiest  failed"
        );
    }

    /// One line.
    pub(super) fn print(&self, size: usize, name: &str) {
        println!(
            "  {size:>6}  {name:<26} {:>5.1} % {:>13.2?} {:>8.2?} {:>13.2?} {:>8.2?} {:>6.2} x {:>6}",
            self.found,
            self.first_token[0],
            self.first_token[1],
            self.at_engine[0],
            self.at_engine[1],
            self.busiest,
            self.failed
        );
    }
}

/// Sends each request at its time to engines that begin with empty caches of `size` blocks.
pub(super) async fn replay(
    path: &ModelPath,
    target: &Target,
    requests: &[Request],
    size: usize,
) -> anyhow::Result<Shown> {
    for engine in &path.engines {
        engine.keep(size).await?;
    }
    let before = calls(path).await?;
    let at = |request: &Request| Duration::from_micros(request.timestamp * 1000 / FASTER);
    let sent = requests.iter().map(|request| {
        let body = body(request);
        (
            at(request),
            Target {
                body,
                ..target.clone()
            },
        )
    });
    let shots = send_each(sent).await;
    let mut blocks = [0, 0];
    for engine in &path.engines {
        let counted = engine.counted().await?;
        blocks = [blocks[0] + counted.blocks[0], blocks[1] + counted.blocks[1]];
    }
    let taken = calls(path).await?;
    let taken = taken
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before);
    let most = taken.max().unwrap_or(0);
    let answered = shots.iter().filter(|shot| shot.seen == Seen::Answered);
    let failed = shots.len() - answered.count();
    let is_hidden = |shot: &&Shot| matches!(shot.seen, Seen::Hidden { .. });
    let hidden = shots.iter().filter(is_hidden).count();
    let half = requests.last().map_or(Duration::ZERO, at) / 2;
    let late = |shot: &&Shot| shot.seen != Seen::Answered && shot.sent + shot.whole >= half;
    let mut first: Vec<_> = shots.iter().map(|shot| shot.first).collect();
    let mut at_engine: Vec<_> = shots.iter().filter_map(|shot| shot.at_engine).collect();
    ensure!(
        at_engine.len() + failed >= shots.len(),
        "an engine's answer without its stamp"
    );
    Ok(Shown {
        found: 100.0 * blocks[0] as f64 / blocks[1].max(1) as f64,
        first_token: [quantile(&mut first, 0.5), quantile(&mut first, 0.9)],
        at_engine: [quantile(&mut at_engine, 0.5), quantile(&mut at_engine, 0.9)],
        busiest: most as f64 * ENGINES as f64 / requests.len() as f64,
        failed,
        hidden,
        failed_late: shots.iter().filter(late).count(),
    })
}

async fn calls(path: &ModelPath) -> anyhow::Result<Vec<u64>> {
    let mut calls = Vec::new();
    for engine in &path.engines {
        calls.push(engine.counted().await?.calls);
    }
    Ok(calls)
}

/// What a request is as a call: a prompt whose text shares its beginning with another's as the trace says.
/// The first message is what the model of routers takes for a conversation's beginning.
pub(super) fn body(request: &Request) -> Bytes {
    let text = |ids: &[u64]| {
        let words = ids.iter().map(|id| {
            let word = format!("{id:07} ");
            word.repeat(BLOCK / word.len())
        });
        json!({"role": "user", "content": words.collect::<String>()})
    };
    let messages: Vec<Value> = match request.hash_ids.split_at_checked(BEGINNING) {
        Some((beginning, rest)) if !rest.is_empty() => vec![text(beginning), text(rest)],
        _ => vec![text(&request.hash_ids)],
    };
    let mut body = scripted(json!({
        "tokens": FRAMES,
        "stamped": true,
        "batched": {"answer": request.output_length, "faster": FASTER},
    }));
    body["messages"] = Value::Array(messages);
    body["stream"] = json!(true);
    Bytes::from(body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(ids: &[u64]) -> Vec<String> {
        let body = body(&Request {
            timestamp: 0,
            input_length: 0,
            output_length: 8,
            hash_ids: ids.to_vec(),
        });
        let body: Value = serde_json::from_slice(&body).unwrap();
        let messages = body["messages"].as_array().unwrap().iter();
        let texts = messages.map(|message| message["content"].as_str().unwrap().to_owned());
        texts.collect()
    }

    #[test]
    fn prompts_share_the_blocks_that_the_trace_says() {
        let [one, other] = [&[0, 1, 2, 3], &[0, 1, 2, 9]].map(|ids: &[u64; 4]| messages(ids));
        assert_eq!(one[0], other[0]);
        let [one, other] = [one.concat(), other.concat()];
        assert_eq!(one.len(), 4 * BLOCK);
        assert_eq!(one[..3 * BLOCK], other[..3 * BLOCK]);
        assert_ne!(one[3 * BLOCK..], other[3 * BLOCK..]);
    }

    #[test]
    fn a_short_prompt_is_one_message() {
        assert_eq!(messages(&[0]).len(), 1);
        assert_eq!(messages(&[0, 1]).len(), 1);
        assert_eq!(messages(&[0, 1, 2]).len(), 2);
    }
}
