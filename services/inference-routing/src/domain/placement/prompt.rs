//! A prompt as the hashes of its beginnings.

use std::hash::{BuildHasher, Hasher};

/// The length of a block, in bytes of the prompt as it stands in the request: some 128 tokens of
/// English, 170 of Chinese.
pub const BLOCK_BYTES: usize = 512;
/// The blocks of one prompt that are looked at: the first mebibyte.
pub const MAX_BLOCKS: usize = 2048;

/// The blocks of a prompt. Each is the hash of everything up to its end, so two prompts share as
/// many blocks as they share of their beginning. What is left at the end is no block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt(Vec<u64>);

impl Prompt {
    /// The prompt that these parts make one after the other, hashed by `hasher`.
    #[must_use]
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>, hasher: &impl BuildHasher) -> Self {
        let mut blocks = Vec::new();
        let mut before = 0;
        for part in parts {
            // Parts begin blocks of their own: what follows a part that differs is new anyway.
            for block in part.chunks_exact(BLOCK_BYTES) {
                if blocks.len() == MAX_BLOCKS {
                    return Self(blocks);
                }
                let mut hash = hasher.build_hasher();
                hash.write_u64(before);
                hash.write(block);
                before = hash.finish();
                blocks.push(before);
            }
            let rest = part.chunks_exact(BLOCK_BYTES).remainder();
            if !rest.is_empty() {
                let mut hash = hasher.build_hasher();
                hash.write_u64(before);
                hash.write(rest);
                before = hash.finish();
            }
        }
        Self(blocks)
    }

    /// A prompt whose blocks are known.
    #[must_use]
    pub const fn from_blocks(blocks: Vec<u64>) -> Self {
        Self(blocks)
    }

    /// Its blocks, the first one first.
    #[must_use]
    pub fn blocks(&self) -> &[u64] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    fn shared(a: &Prompt, b: &Prompt) -> usize {
        let pairs = a.blocks().iter().zip(b.blocks());
        pairs.take_while(|(a, b)| a == b).count()
    }

    #[test]
    fn prompts_share_as_many_blocks_as_they_share_of_their_beginning() {
        let hasher = RandomState::new();
        let text: Vec<u8> = (0..10 * BLOCK_BYTES).map(|n| (n % 251) as u8).collect();
        let whole = Prompt::of([text.as_slice()], &hasher);
        assert_eq!(whole.blocks().len(), 10);
        for differs_at in [0, BLOCK_BYTES - 1, BLOCK_BYTES, 7 * BLOCK_BYTES + 9] {
            let mut other = text.clone();
            other[differs_at] ^= 1;
            let other = Prompt::of([other.as_slice()], &hasher);
            assert_eq!(shared(&whole, &other), differs_at / BLOCK_BYTES);
            // Nothing after the difference is taken for the same, however equal it is.
            let same = whole.blocks().iter().filter(|b| other.blocks().contains(b));
            assert_eq!(same.count(), differs_at / BLOCK_BYTES);
        }
        let longer = [text.as_slice(), text.as_slice()].concat();
        let longer = Prompt::of([longer.as_slice()], &hasher);
        assert_eq!(shared(&whole, &longer), 10);
    }

    #[test]
    fn a_part_that_differs_makes_all_that_follows_differ() {
        let hasher = RandomState::new();
        let text = [7_u8; 2 * BLOCK_BYTES];
        let with = |tools: &[u8]| Prompt::of([tools, text.as_slice()], &hasher);
        assert_eq!(shared(&with(b"[]"), &with(b"[1]")), 0);
        assert_eq!(shared(&with(b"[]"), &with(b"[]")), 2);
    }

    #[test]
    fn an_endless_prompt_has_an_end() {
        let text = vec![1; (MAX_BLOCKS + 5) * BLOCK_BYTES];
        let prompt = Prompt::of([text.as_slice()], &RandomState::new());
        assert_eq!(prompt.blocks().len(), MAX_BLOCKS);
    }
}
