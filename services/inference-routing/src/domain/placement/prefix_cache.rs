//! Which prompt blocks a replica probably has in its cache: the blocks that were sent there, the
//! least recently used forgotten first, as engines do it.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// No neighbour.
const NONE: u32 = u32::MAX;

/// The blocks of one replica, at most `capacity`. A block is the hash of the prompt up to its end,
/// so a block implies all before it; those are never older than it and never forgotten before it.
#[derive(Debug)]
pub struct PrefixCache {
    places: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    nodes: Vec<Node>,
    newest: u32,
    oldest: u32,
    capacity: usize,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    block: u64,
    newer: u32,
    older: u32,
}

/// Blocks are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, block: u64) {
        self.0 = block;
    }
}

impl PrefixCache {
    /// An empty cache of at most `capacity` blocks, at least 1. Memory is taken as it fills.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            places: HashMap::default(),
            nodes: Vec::new(),
            newest: NONE,
            oldest: NONE,
            capacity: capacity.clamp(1, NONE as usize),
        }
    }

    /// How many blocks it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// It knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many of the first blocks of a prompt are there. As none is there without those before
    /// it, halving finds the end.
    #[must_use]
    pub fn matched(&self, blocks: &[u64]) -> usize {
        blocks.partition_point(|block| self.places.contains_key(block))
    }

    /// The prompt was sent there. From its end to its beginning: what comes first is the newest.
    pub fn insert(&mut self, blocks: &[u64]) {
        let known = blocks.len().min(self.capacity);
        for block in blocks[..known].iter().rev() {
            self.touch(*block);
        }
    }

    /// Forgets everything: the replica began anew.
    pub fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    fn touch(&mut self, block: u64) {
        let at = match self.places.get(&block) {
            Some(at) => {
                let at = *at;
                self.unlink(at);
                at
            }
            None if self.nodes.len() < self.capacity => {
                self.nodes.push(Node {
                    block,
                    newer: NONE,
                    older: NONE,
                });
                (self.nodes.len() - 1) as u32
            }
            None => {
                let at = self.oldest;
                self.unlink(at);
                self.places.remove(&self.nodes[at as usize].block);
                at
            }
        };
        self.places.insert(block, at);
        self.nodes[at as usize] = Node {
            block,
            newer: NONE,
            older: self.newest,
        };
        match self.newest {
            NONE => self.oldest = at,
            newest => self.nodes[newest as usize].newer = at,
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: u32) {
        let Node { newer, older, .. } = self.nodes[at as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn the_least_recently_used_block_is_forgotten_first() {
        let mut cache = PrefixCache::new(4);
        cache.insert(&[1, 2]);
        cache.insert(&[3, 4]);
        cache.insert(&[1]);
        cache.insert(&[5, 6]);
        assert_eq!(cache.len(), 4);
        // 2 and 4 went: each was the end of something.
        let there: Vec<u64> = (1..=6).filter(|b| cache.matched(&[*b]) == 1).collect();
        assert_eq!(there, [1, 3, 5, 6]);
        cache.clear();
        assert!(cache.is_empty());
    }

    #[test]
    fn the_size_is_bounded_and_no_block_is_there_without_those_before_it() {
        for seed in 0..50 {
            let mut chance = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
            let capacity = chance.random_range(1..60);
            let mut cache = PrefixCache::new(capacity);
            let mut prompts: Vec<Vec<u64>> = Vec::new();
            for _ in 0..200 {
                let mut prompt = match prompts.len() {
                    0 => Vec::new(),
                    known => {
                        let earlier = &prompts[chance.random_range(0..known)];
                        earlier[..chance.random_range(0..=earlier.len())].to_vec()
                    }
                };
                prompt.extend((0..chance.random_range(1..9)).map(|_| chance.random::<u64>()));
                cache.insert(&prompt);
                assert!(cache.len() <= capacity && cache.places.len() == cache.len());
                prompts.push(prompt);
                for prompt in &prompts {
                    let there = |b: &u64| cache.places.contains_key(b);
                    let first = prompt.iter().take_while(|b| there(b)).count();
                    assert!(!prompt[first..].iter().any(there), "seed {seed}");
                    assert_eq!(cache.matched(prompt), first);
                }
            }
        }
    }
}
