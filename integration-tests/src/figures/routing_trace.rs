//! The load of figures about placement: requests whose prompts share their beginnings as real ones do.
//!
//! `WANWU_TRACE` names a trace in the form of the Mooncake conversation (kvcache-ai/Mooncake, Apache-2.0), a
//! line of JSON a request. Without one it is the copy of that trace in `traces/`; without that, load made
//! from a seed, which shares more than real load does.

use std::{fs, path::Path};

use anyhow::Context;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Deserialize;

/// Tokens of a block.
pub(super) const BLOCK_TOKENS: u64 = 512;
/// Blocks that say to which router a prompt goes: its first 1,024 tokens.
pub(super) const BEGINNING: usize = 2;
/// Of the load that is there without a trace.
const SEED: u64 = 20_240_601;
/// The copy, with runs in place of blocks.
const PACKED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/traces/mooncake_conversation.txt"
);

/// One request of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Request {
    /// Milliseconds from the beginning.
    pub timestamp: u64,
    /// Tokens of the prompt.
    pub input_length: u64,
    /// Tokens of the answer.
    pub output_length: u64,
    /// The blocks of the prompt: equal ones are equal text after equal text.
    pub hash_ids: Vec<u64>,
}

/// The load, and whether it is real.
pub(super) fn requests() -> anyhow::Result<(Vec<Request>, bool)> {
    if let Some(path) = std::env::var_os("WANWU_TRACE") {
        let text = read(Path::new(&path))?;
        let requests: Result<_, _> = text.lines().map(serde_json::from_str).collect();
        return Ok((requests.context("the trace is not Mooncake's")?, true));
    }
    if Path::new(PACKED).exists() {
        return Ok((unpacked(&read(Path::new(PACKED))?)?, true));
    }
    println!("  there is no trace: load from a seed, which shares more than real load");
    Ok((conversations(SEED), false))
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn unpacked(text: &str) -> anyhow::Result<Vec<Request>> {
    let requests = text.lines().map(|line| {
        let request = request(line);
        request.with_context(|| format!("{line:?} is no request"))
    });
    requests.collect()
}

/// A line is `timestamp input_length output_length blocks`; blocks are runs with commas between, `0,14-27`.
fn request(line: &str) -> anyhow::Result<Request> {
    let mut words = line.split(' ');
    let mut word = || words.next().context("a word is missing");
    let numbers = [word()?, word()?, word()?].map(str::parse::<u64>);
    let [timestamp, input_length, output_length] = numbers;
    let mut hash_ids = Vec::new();
    for run in word()?.split(',') {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        hash_ids.extend(first.parse::<u64>()?..=last.parse::<u64>()?);
    }
    Ok(Request {
        timestamp: timestamp?,
        input_length: input_length?,
        output_length: output_length?,
        hash_ids,
    })
}

/// The half that comes first, and the other; each begins at once.
pub(super) fn halves(requests: &[Request]) -> [Vec<Request>; 2] {
    let (first, second) = requests.split_at(requests.len() / 2);
    [first, second].map(|half| {
        let begin = half.first().map_or(0, |request| request.timestamp);
        let of_half = half.iter().cloned().map(|request| Request {
            timestamp: request.timestamp - begin,
            ..request
        });
        of_half.collect()
    })
}

/// Conversations of some turns that all share their first block, as in the trace.
pub(super) fn conversations(seed: u64) -> Vec<Request> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut open: Vec<Vec<u64>> = Vec::new();
    let mut next = 1;
    let mut requests = Vec::new();
    for at in 0..12_000_u64 {
        let again = !open.is_empty() && chance.random_bool(0.6);
        let mut ids = match again {
            true => open.swap_remove(chance.random_range(0..open.len())),
            false => vec![0],
        };
        let most = if again { 8 } else { 40 };
        for _ in 0..chance.random_range(2..most) {
            ids.push(next);
            next += 1;
        }
        requests.push(Request {
            timestamp: at * 295,
            input_length: ids.len() as u64 * BLOCK_TOKENS,
            output_length: chance.random_range(20..700),
            hash_ids: ids.clone(),
        });
        open.push(ids);
        if open.len() > 400 {
            open.swap_remove(0);
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_request_with_its_runs_of_blocks() {
        let expected = Request {
            timestamp: 3,
            input_length: 2290,
            output_length: 316,
            hash_ids: vec![0, 42, 43, 44, 7],
        };
        assert_eq!(request("3 2290 316 0,42-44,7").unwrap(), expected);
        for wrong in ["", "3 2290 316", "3 2290 x 0", "3 2290 316 0-"] {
            assert!(request(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_copy_is_the_whole_trace_in_its_order() {
        let trace = unpacked(&read(Path::new(PACKED)).unwrap()).unwrap();
        assert_eq!(trace.len(), 12_031);
        let blocks: usize = trace.iter().map(|request| request.hash_ids.len()).sum();
        assert_eq!(blocks, 288_500);
        assert!(trace.is_sorted_by_key(|request| request.timestamp));
    }

    #[test]
    fn load_from_a_seed_is_the_same_each_time_and_shares_beginnings() {
        let load = conversations(SEED);
        assert_eq!(load, conversations(SEED));
        assert_ne!(load, conversations(SEED + 1));
        assert!(load.iter().all(|request| request.hash_ids[0] == 0));
    }

    #[test]
    fn each_half_begins_at_once_and_no_request_is_lost() {
        let load = conversations(SEED);
        let [first, second] = halves(&load[..7]);
        assert_eq!((first.as_slice(), second.len()), (&load[..3], 4));
        assert_eq!(second[0].timestamp, 0);
        assert_eq!(second[3].timestamp, load[6].timestamp - load[3].timestamp);
    }
}
