//! Makes inputs of others.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Inputs that are kept, and the longest input, in bytes.
const KEPT: usize = 4096;
const LONGEST: usize = 2048;
/// Bytes that often matter.
const ODD: [u8; 12] = *b"\0\n\r \"\\{}[],\xff";

/// Mutates examples and what was kept.
pub(super) struct Mutator {
    chance: StdRng,
    kept: Vec<Vec<u8>>,
    words: &'static [&'static [u8]],
    input: Vec<u8>,
}

impl Mutator {
    pub(super) fn new(
        seed: u64,
        examples: &'static [&'static [u8]],
        words: &'static [&'static [u8]],
    ) -> Self {
        Self {
            chance: StdRng::seed_from_u64(seed),
            kept: examples.iter().map(|example| example.to_vec()).collect(),
            words,
            input: Vec::new(),
        }
    }

    /// This input as it is.
    pub(super) fn given(&mut self, input: &[u8]) -> &[u8] {
        self.input = input.to_vec();
        &self.input
    }

    /// Another input.
    pub(super) fn another(&mut self) -> &[u8] {
        let from = self.chance.random_range(0..self.kept.len());
        self.input.clear();
        self.input.extend_from_slice(&self.kept[from]);
        // Mostly a few changes: what comes of many is mostly refused at its beginning.
        let changes = 1 << self.chance.random_range(0..4);
        for _ in 0..self.chance.random_range(1..=changes) {
            self.change();
        }
        self.input.truncate(LONGEST);
        &self.input
    }

    /// The last input did something new.
    pub(super) fn keep(&mut self) {
        if self.kept.len() < KEPT {
            self.kept.push(self.input.clone());
        }
    }

    fn change(&mut self) {
        let at = self.chance.random_range(0..=self.input.len());
        let to = self.chance.random_range(at..=self.input.len().min(at + 32));
        match self.chance.random_range(0..9) {
            0 => {
                if let Some(byte) = self.input.get_mut(at) {
                    *byte ^= 1 << self.chance.random_range(0..8);
                }
            }
            1 => self.input.insert(at, self.chance.random()),
            2 => {
                let odd = ODD[self.chance.random_range(0..ODD.len())];
                match self.input.get_mut(at) {
                    Some(byte) if self.chance.random() => *byte = odd,
                    _ => self.input.insert(at, odd),
                }
            }
            3 => drop(self.input.drain(at..to)),
            4 => self.copy(at, to),
            5 => self.graft(at),
            6 => self.input.truncate(at.max(to)),
            _ if self.words.is_empty() => {}
            _ => {
                let word = self.words[self.chance.random_range(0..self.words.len())];
                let replaced = if self.chance.random() { at..at } else { at..to };
                self.input.splice(replaced, word.iter().copied());
            }
        }
    }

    /// A piece once more, somewhere.
    fn copy(&mut self, from: usize, to: usize) {
        let piece = self.input[from..to].to_vec();
        let at = self.chance.random_range(0..=self.input.len());
        self.input.splice(at..at, piece);
    }

    /// The end of another.
    fn graft(&mut self, at: usize) {
        let other = &self.kept[self.chance.random_range(0..self.kept.len())];
        let from = self.chance.random_range(0..=other.len());
        self.input.truncate(at);
        self.input.extend_from_slice(&other[from..]);
    }
}
