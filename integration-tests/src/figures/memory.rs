//! Prompts that nobody had before, by keys of many accounts: what edge and router keep of them.
//!
//! A prefix is a prompt up to the end of one of its blocks, which is what a router remembers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use inference_routing::domain::placement::{BLOCK_BYTES, PlacementLimits};
use serde_json::json;
use tokio::time::{Instant, sleep};
use toml::Table;

use super::{
    Figure, Kind, Reading, Tier,
    customers::{customers, scripted},
    model_path::{Load, ModelPath, Wanted},
};
use crate::{
    load::{Target, resident_kib},
    stack::Stack,
};

const CLIENTS: usize = 16;
/// As many as an app may have; each account has one app here.
const KEYS_OF_AN_ACCOUNT: usize = 100;
const TOP_UP_FEN: i64 = 1_000_000;
/// What edge or router may grow by in the second half, in MiB.
const GOAL: f64 = 8.0;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "memory",
        claim: "RSS of edge and router after 1,000,000 distinct prefixes by 10,000 keys of 100 accounts, and its slope",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

/// How much is done.
struct Extent {
    prefixes: u64,
    /// Blocks of a prompt: each is the end of a prefix that nobody had before.
    blocks: usize,
    keys: usize,
    /// Blocks that the router may remember of an engine: it forgets most of them.
    remembered: u32,
}

impl Extent {
    const fn of(tier: Tier) -> Self {
        match tier {
            // An index without a bound would add 18 MiB in the second half: 16 bytes of each block, and for each
            // engine a table that doubles with 229,376 blocks, in the middle of it.
            Tier::Quick => Self {
                prefixes: 614_400,
                blocks: 512,
                keys: 200,
                remembered: 4096,
            },
            Tier::Full => Self {
                prefixes: 1_000_000,
                blocks: 32,
                keys: 10_000,
                remembered: PlacementLimits::DEFAULT.blocks as u32,
            },
        }
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let extent = Extent::of(tier);
    let keys = keys(&stack, extent.keys).await?;
    let wanted = Wanted {
        figure: "memory",
        engines: 2,
        routers: 1,
        policy: None,
        limits: Table::from_iter([("prefix_blocks".to_owned(), extent.remembered.into())]),
    };
    let path = ModelPath::start(&stack, wanted).await?;
    let address = format!("{}/v1/chat/completions", path.base());
    let target = Target::new(&address, None, Bytes::new())?;
    let made = Arc::new(AtomicU64::new(0));
    let want = {
        let made = made.clone();
        move |_| {
            let n = made.fetch_add(1, Ordering::Relaxed);
            let key = &keys[n as usize % keys.len()];
            Target {
                bearer: Some(key.clone()),
                body: body(n, extent.blocks),
                ..target.clone()
            }
        }
    };
    println!("  prefixes    edge    router  (MiB)");
    let load = Load::start(Arc::new(want), CLIENTS);
    let (mut points, mut shown) = (Vec::new(), 0);
    let begin = Instant::now();
    loop {
        let prefixes = made.load(Ordering::Relaxed) * extent.blocks as u64;
        let memory = memory(&path);
        points.push((prefixes as f64, memory));
        if prefixes >= shown {
            println!("  {prefixes:>8} {:>7.1} {:>9.1}", memory[0], memory[1]);
            shown += extent.prefixes / 10;
        }
        if prefixes >= extent.prefixes {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let rate = made.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64();
    let counts = load.end().await;
    println!(
        "  {} calls, {rate:.0} a second, {} refused {:?}, {} cut",
        counts.calls, counts.refused, counts.words, counts.cut
    );
    for engine in &path.engines {
        let [found, _] = engine.counted().await?.blocks;
        ensure!(found == 0, "{found} blocks were not new to an engine");
    }
    let remembered = path.routers[0].metric("inference_routing_prefix_blocks", "", "engine");
    let remembered = remembered.await?;
    ensure!(
        are_bounded(&remembered, path.engines.len(), extent.remembered),
        "the router remembers {remembered:?} blocks of its engines, and may {} of each",
        extent.remembered
    );
    let half: Vec<_> = points
        .iter()
        .filter(|(prefixes, _)| *prefixes * 2.0 >= extent.prefixes as f64)
        .copied()
        .collect();
    let grown = [0, 1].map(|at| {
        let of_one = half
            .iter()
            .map(|(prefixes, memory)| (*prefixes, memory[at]));
        slope(&of_one.collect::<Vec<_>>()) * extent.prefixes as f64 / 2.0
    });
    let last = points.last().map_or([0.0; 2], |(_, memory)| *memory);
    Ok(Reading {
        figure: format!("{:.0} / {:.0}", last[0], last[1]),
        unit: format!(
            "MiB of edge / router after {} prefixes by {} keys of {} accounts; the second half's slope makes {:+.1} / {:+.1} MiB of it",
            extent.prefixes,
            extent.keys,
            extent.keys.div_ceil(KEYS_OF_AN_ACCOUNT),
            grown[0],
            grown[1]
        ),
        goal: format!("second half <= {GOAL} MiB each, no call fails"),
        holds: grown.iter().all(|grown| *grown <= GOAL) && counts.refused + counts.cut == 0,
    })
}

/// Makes so many keys, of as many accounts as they need.
async fn keys(stack: &Stack, count: usize) -> anyhow::Result<Vec<String>> {
    let accounts = customers(stack, count.div_ceil(KEYS_OF_AN_ACCOUNT), TOP_UP_FEN).await?;
    let keys = (0..count).map(|n| {
        let mut account = accounts[n / KEYS_OF_AN_ACCOUNT].clone();
        async move {
            // It has one already.
            if n % KEYS_OF_AN_ACCOUNT > 0 {
                account.key().await?;
            }
            anyhow::Ok(account.secret().to_owned())
        }
    });
    stream::iter(keys)
        .buffer_unordered(CLIENTS)
        .try_collect()
        .await
}

/// A prompt of so many blocks that are the `n`-th prompt's own, as its beginning is.
fn body(n: u64, blocks: usize) -> Bytes {
    let own = format!("prompt {n}. ");
    let text = own.repeat((blocks * BLOCK_BYTES).div_ceil(own.len()));
    let mut body = scripted(json!({"tokens": 1}));
    body["messages"][0]["content"] = text.into();
    body["stream"] = json!(true);
    body["max_tokens"] = json!(4);
    Bytes::from(body.to_string())
}

/// Something is remembered of each of so many engines, and no more than may be.
fn are_bounded(remembered: &BTreeMap<String, f64>, engines: usize, most: u32) -> bool {
    let within = |blocks: &f64| *blocks > 0.0 && *blocks <= f64::from(most);
    remembered.len() == engines && remembered.values().all(within)
}

fn memory(path: &ModelPath) -> [f64; 2] {
    [&path.edge().process, &path.routers[0].process].map(|process| {
        let kib = process.pid().and_then(resident_kib).unwrap_or(0);
        kib as f64 / 1024.0
    })
}

/// Least squares: how much the second rises with the first.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let rise: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let run: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    rise / run.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line_is_its_own() {
        let line: Vec<_> = (0..9)
            .map(|n| (f64::from(n), 3.0 * f64::from(n) + 1.0))
            .collect();
        assert!((slope(&line) - 3.0).abs() < 1e-9);
        assert!(slope(&[(1.0, 2.0)]).abs() < 1e-9);
    }

    #[test]
    fn every_prompt_is_of_blocks_of_its_own() {
        let (one, other) = (body(1, 32), body(11, 32));
        assert!(one.len() >= 32 * BLOCK_BYTES);
        assert_ne!(one[..BLOCK_BYTES], other[..BLOCK_BYTES]);
    }

    #[test]
    fn an_index_without_a_bound_would_be_seen() {
        // A node, and a place in a table that is full.
        const OF_A_BLOCK: u64 = 16 + 17;
        for tier in [Tier::Quick, Tier::Full] {
            let extent = Extent::of(tier);
            let added = extent.prefixes / 2 * OF_A_BLOCK;
            assert!(added as f64 / f64::from(1 << 20) > GOAL, "{tier:?}");
            let forgotten = extent.prefixes / 2 > 2 * u64::from(extent.remembered);
            assert!(forgotten, "{tier:?}");
        }
        let told = |blocks: &[f64]| {
            let engines = blocks.iter().enumerate();
            let engines = engines.map(|(n, blocks)| (n.to_string(), *blocks));
            are_bounded(&engines.collect::<BTreeMap<_, _>>(), 2, 8)
        };
        assert!(told(&[8.0, 3.0]));
        for wrong in [&[8.0, 9.0][..], &[8.0, 0.0], &[8.0], &[]] {
            assert!(!told(wrong), "{wrong:?}");
        }
    }
}
