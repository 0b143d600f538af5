//! Fuzzing of what reads bytes from strangers: engines' streams and chunks, clients' requests, how their
//! prompts begin, and keys. A target says what must hold of any bytes; inputs are mutations of examples and of inputs that
//! made a target do something new, from a seed, so that a run can be made again.

mod beginning;
mod chunk;
mod key;
mod mutator;
mod request;
mod stream;

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use mutator::Mutator;

/// What is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Inputs as they should be.
    examples: &'static [&'static [u8]],
    /// Words of its language.
    words: &'static [&'static [u8]],
    /// What must hold of every input. The number tells ways apart that inputs go.
    check: fn(&[u8]) -> Result<u64, String>,
}

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Inputs that were tried.
    pub runs: u64,
    /// Different ways that they went.
    pub ways: usize,
}

/// An input of which something does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{target}, seed {seed}, run {run}: {problem}; the input is {input:?}")]
pub struct Broken {
    /// The target.
    pub target: &'static str,
    /// The seed of the run.
    pub seed: u64,
    /// Which input of it.
    pub run: u64,
    /// What does not hold.
    pub problem: String,
    /// The input, escaped.
    pub input: String,
}

/// Every target.
#[must_use]
pub const fn targets() -> [Target; 6] {
    [
        stream::TARGET,
        request::CHAT,
        request::OTHERS,
        chunk::TARGET,
        key::TARGET,
        beginning::TARGET,
    ]
}

impl Target {
    /// Tries so many inputs.
    ///
    /// # Errors
    /// At the first input of which something does not hold, a panic included.
    pub fn run(&self, runs: u64, seed: u64) -> Result<Done, Broken> {
        let mut mutator = Mutator::new(seed, self.examples, self.words);
        let mut ways = HashSet::new();
        for run in 0..runs {
            // The examples first, as they are.
            let input = match self.examples.get(run as usize) {
                Some(example) => mutator.given(example),
                None => mutator.another(),
            };
            let checked = catch_unwind(AssertUnwindSafe(|| (self.check)(input)));
            match checked.unwrap_or_else(|_| Err("it panicked".to_owned())) {
                Ok(way) => {
                    if ways.insert(way) {
                        mutator.keep();
                    }
                }
                Err(problem) => {
                    return Err(Broken {
                        target: self.name,
                        seed,
                        run,
                        problem,
                        input: input.escape_ascii().to_string(),
                    });
                }
            }
        }
        Ok(Done {
            runs,
            ways: ways.len(),
        })
    }
}

/// Tells apart what was seen, in few words: a hash.
fn way(seen: impl std::hash::Hash) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    seen.hash(&mut hasher);
    hasher.finish()
}

/// Counts that differ only when they are far apart are one.
fn about(count: usize) -> u32 {
    usize::BITS - count.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: u64 = 100_000;

    fn holds(target: &Target) {
        match target.run(RUNS, 1) {
            Ok(done) => assert!(done.ways > 5, "{}: {done:?}", target.name),
            Err(broken) => panic!("{broken}"),
        }
    }

    #[test]
    fn the_reader_of_streams_reads_the_same_however_the_bytes_are_cut() {
        holds(&stream::TARGET);
    }

    #[test]
    fn the_reader_of_requests_changes_no_byte_that_it_need_not() {
        holds(&request::CHAT);
        holds(&request::OTHERS);
    }

    #[test]
    fn a_prompt_begins_the_same_however_it_comes() {
        holds(&beginning::TARGET);
    }

    #[test]
    fn the_reader_of_chunks_changes_no_byte_that_it_need_not() {
        holds(&chunk::TARGET);
    }

    #[test]
    fn the_reader_of_keys_takes_nothing_but_their_one_form() {
        holds(&key::TARGET);
    }

    #[test]
    fn the_readme_names_as_many_readers_as_there_are() {
        const README: &str = include_str!("../../README.md");
        let mut rows = README.lines();
        let row = rows.find(|line| line.starts_with("| `fuzz` |")).unwrap();
        // "0 of 6 by 200,000 inputs each".
        let (_, named) = row.split_once("0 of ").unwrap();
        let (named, _) = named.split_once(' ').unwrap();
        assert_eq!(named.parse(), Ok(targets().len()), "{row}");
    }

    #[test]
    fn what_does_not_hold_is_found_and_can_be_run_again() {
        let target = Target {
            name: "test",
            examples: &[b"good"],
            words: &[b"bad"],
            check: |input| match input.windows(3).any(|w| w == b"bad") {
                true => Err("it is bad".to_owned()),
                false => Ok(way(input.len())),
            },
        };
        let broken = target.run(10_000, 3).unwrap_err();
        assert_eq!(target.run(10_000, 3).unwrap_err(), broken);
        let panics = Target {
            check: |_| panic!("as the test wants it"),
            ..target
        };
        assert_eq!(panics.run(1, 1).unwrap_err().problem, "it panicked");
    }
}
