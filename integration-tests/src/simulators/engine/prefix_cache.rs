//! What an engine keeps of prompts that it had: blocks of text, the least recently used forgotten
//! first. It tells how much of each prompt it found, which is what placement is for.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

/// Bytes of text of a block.
const BLOCK: usize = 512;

/// The blocks of an engine.
#[derive(Debug)]
pub(super) struct PrefixCache {
    capacity: usize,
    /// When each was used last.
    used: HashMap<u64, u64>,
    /// Blocks by when they were used last.
    order: BTreeMap<u64, u64>,
    now: u64,
    /// Blocks of all prompts that were found here, and all blocks.
    pub found: u64,
    pub all: u64,
}

impl PrefixCache {
    /// An empty one of so many blocks.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            used: HashMap::new(),
            order: BTreeMap::new(),
            now: 0,
            found: 0,
            all: 0,
        }
    }

    /// Takes a prompt: counts its blocks and those of its beginning that are here, and keeps all. Answers
    /// how many it has, and how many were not here.
    pub fn take(&mut self, prompt: &str) -> [u64; 2] {
        let mut before = 0_u64;
        let blocks: Vec<u64> = prompt
            .as_bytes()
            .chunks_exact(BLOCK)
            .map(|block| {
                let mut hasher = DefaultHasher::new();
                (before, block).hash(&mut hasher);
                before = hasher.finish();
                before
            })
            .collect();
        let known = blocks.iter().take_while(|b| self.used.contains_key(b));
        let (known, all) = (known.count() as u64, blocks.len() as u64);
        self.found += known;
        self.all += all;
        // The end first: what comes before is used later, and forgotten later.
        for block in blocks.into_iter().rev() {
            self.touch(block);
        }
        [all, all - known]
    }

    fn touch(&mut self, block: u64) {
        self.now += 1;
        if let Some(last) = self.used.insert(block, self.now) {
            self.order.remove(&last);
        }
        self.order.insert(self.now, block);
        if self.used.len() > self.capacity
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.used.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_prompt_is_found_as_far_as_it_is_kept() {
        let text = |block: &str| block.repeat(BLOCK);
        let mut cache = PrefixCache::new(4);
        cache.take(&[text("a"), text("b")].concat());
        cache.take(&[text("a"), text("c")].concat());
        assert_eq!((cache.found, cache.all), (1, 4));
        cache.take(&[text("x"), text("y"), text("z")].concat());
        cache.take(&text("b"));
        assert_eq!((cache.found, cache.all), (1, 8), "b is known only after a");
        cache.take(&text("a"));
        assert_eq!((cache.found, cache.all), (1, 9), "a was forgotten");
    }
}
