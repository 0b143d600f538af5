//! The same requests through routers as they are, ours and those of others, to eight scripted engines as
//! processes. Time runs faster than in the trace; what is found in caches depends on choices only.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use toml::Table;

use super::super::{
    customers::scripted,
    model_path::{ModelPath, Seen, Wanted, send_each},
    peers::Peers,
    rig,
    routing_model::Request,
};
use crate::{
    journey::Journey,
    load::{Target, quantile},
    stack::{Stack, create_private_folder},
};

const ENGINES: usize = 8;
/// So many seconds of the trace are one here.
const FASTER: u64 = 60;
/// Bytes of text that stand for a block, as many as engines and our router count for one.
const BLOCK: usize = 512;
/// A block is 512 tokens; an engine reads 16,000 a second.
const PREFILL: Duration = Duration::from_micros(32_000 / FASTER);
/// For each token of an answer.
const STEP: Duration = Duration::from_micros(9_000 / FASTER);
/// Frames of an answer; each stands for a share of its tokens.
const FRAMES: u64 = 8;
const TOP_UP_FEN: i64 = 5_000_000;
/// Longer than one answer to all.
const ANYBODY: i64 = 1_000_000;

/// Prints what each router found; answers ours and the best of the others', in per cent, by cache size.
pub(super) async fn measure(
    stack: &Stack,
    requests: &[Request],
    sizes: &[usize],
) -> anyhow::Result<Vec<(f64, f64)>> {
    println!(
        "  routers as processes, {ENGINES} engines that read 16,000 tokens a second, {FASTER} times as fast"
    );
    println!(
        "  blocks  router                      found  first token p50     p90  busiest  failed"
    );
    let mut rows = vec![(0.0, 0.0_f64); sizes.len()];
    for (row, size) in rows.iter_mut().zip(sizes) {
        for policy in ["round_robin", "prefix_aware"] {
            // Anew for each size: what a router knows of engines that forgot everything would be wrong.
            let path = path(stack, policy).await?;
            let journey = Journey::ready_to_call(stack, TOP_UP_FEN).await?;
            let url = format!("{}/v1/chat/completions", path.base());
            let target = Target::new(&url, Some(journey.secret()), Bytes::new())?;
            let shown = replay(&path, &target, requests, *size).await?;
            shown.print(*size, &format!("ours, {policy}"));
            if policy == "prefix_aware" {
                row.0 = shown.found;
                row.1 = others(stack, &path, requests, *size).await?;
            }
        }
    }
    Ok(rows)
}

/// Edge and router with nothing that would refuse a customer who sends everything.
async fn path(stack: &Stack, policy: &'static str) -> anyhow::Result<ModelPath> {
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
        figure: "routing-hit",
        engines: ENGINES,
        routers: 1,
        policy: Some(policy),
        limits: Table::new(),
    };
    // Release programs, as those of the others are.
    ModelPath::start_released(stack, wanted, &sections, &rig::release()?).await
}

/// Others at the same engines; answers what the best of them found.
async fn others(
    stack: &Stack,
    path: &ModelPath,
    requests: &[Request],
    size: usize,
) -> anyhow::Result<f64> {
    let folder = stack.description().dir.join("figures/routing-hit/peers");
    create_private_folder(&folder)?;
    let engines = path.engines.iter();
    let engines: Vec<_> = engines.map(|it| it.url.replace("http://", "")).collect();
    let peers = Peers {
        installed: &rig::peers()?,
        folder: &folder,
        engines: &engines,
        policy: "cache_aware",
        body: &body(&requests[0]),
        processor: 0,
    };
    let mut best = 0.0_f64;
    for peer in peers.start_routers().await? {
        let shown = replay(path, &peer.target, requests, size).await?;
        shown.print(size, &format!("{} {}", peer.name, peer.version));
        best = best.max(shown.found);
    }
    Ok(best)
}

/// What one replay showed.
struct Shown {
    found: f64,
    first_token: [Duration; 2],
    busiest: f64,
    failed: usize,
}

async fn replay(
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
    let mut first: Vec<_> = shots.iter().map(|shot| shot.first).collect();
    Ok(Shown {
        found: 100.0 * blocks[0] as f64 / blocks[1].max(1) as f64,
        first_token: [quantile(&mut first, 0.5), quantile(&mut first, 0.9)],
        busiest: most as f64 * ENGINES as f64 / requests.len() as f64,
        failed,
    })
}

async fn calls(path: &ModelPath) -> anyhow::Result<Vec<u64>> {
    let mut calls = Vec::new();
    for engine in &path.engines {
        calls.push(engine.counted().await?.calls);
    }
    Ok(calls)
}

/// A prompt whose text shares its beginning with another's as the trace says.
fn body(request: &Request) -> Bytes {
    let mut text = String::with_capacity(request.hash_ids.len() * BLOCK);
    for id in &request.hash_ids {
        let word = format!("{id:07} ");
        text.push_str(&word.repeat(BLOCK / word.len()));
    }
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or_default();
    let answering = micros(STEP) * request.output_length / FRAMES;
    let mut body = scripted(json!({
        "tokens": FRAMES,
        "delay_ms": answering / 1000,
        "prefill_us": micros(PREFILL),
    }));
    body["messages"] = json!([{"role": "user", "content": text}]);
    body["stream"] = json!(true);
    Bytes::from(body.to_string())
}

impl Shown {
    fn print(&self, size: usize, name: &str) {
        println!(
            "  {size:>6}  {name:<26} {:>5.1} % {:>13.2?} {:>8.2?} {:>6.2} x {:>6}",
            self.found, self.first_token[0], self.first_token[1], self.busiest, self.failed
        );
    }
}
