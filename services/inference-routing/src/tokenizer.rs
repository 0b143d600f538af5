//! The tokenizer of a model, for engines that do not say what a call used.

use std::path::{Path, PathBuf};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Counts tokens as the model does.
pub struct Tokenizer {
    vocabulary: tokenizers::Tokenizer,
    turns: Semaphore,
}

/// The file is not a tokenizer.
#[derive(Debug, thiserror::Error)]
#[error("{} is not a tokenizer", file.display())]
pub struct NoTokenizer {
    file: PathBuf,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Calls that are counted at the same time: whoever leaves long prompts behind does not take every
/// processor with them.
const TURNS: usize = 2;

/// Texts are counted in pieces of at most this many bytes, cut at white space.
const PIECE: usize = 64 * 1024;

impl Tokenizer {
    /// Reads a `tokenizer.json` of Hugging Face's format.
    pub fn load(file: &Path) -> Result<Self, NoTokenizer> {
        let read = tokenizers::Tokenizer::from_file(file);
        let vocabulary = read.map_err(|source| NoTokenizer {
            file: file.to_owned(),
            source,
        })?;
        Ok(Self {
            vocabulary,
            turns: Semaphore::new(TURNS),
        })
    }

    /// Waits for a turn to count.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// How many tokens the texts are, each for itself and without what a template adds; `None`: the
    /// tokenizer cannot say. It takes a processor about a second for two million bytes: not for a
    /// task that serves others.
    #[must_use]
    pub fn count(&self, texts: &[String]) -> Option<u64> {
        let pieces = texts.iter().flat_map(|text| pieces(text));
        let mut sum = 0;
        for piece in pieces {
            let encoded = self.vocabulary.encode_fast(piece, false).ok()?;
            sum += encoded.len() as u64;
        }
        Some(sum)
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokenizer")
    }
}

/// The text in pieces; a cut is before white space, where vocabularies do not join, if there is any.
fn pieces(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while text.len() > PIECE {
        let most = text.floor_char_boundary(PIECE);
        let at = text[..most].rfind(char::is_whitespace).filter(|at| *at > 0);
        let (piece, rest) = text.split_at(at.unwrap_or(most));
        pieces.push(piece);
        text = rest;
    }
    pieces.push(text);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_text_and_begin_with_white_space_where_there_is_any() {
        let long = format!("{} {}", "字".repeat(20_000), "b".repeat(70_000));
        for text in ["", "short", &long, &"字".repeat(50_000)] {
            let pieces = pieces(text);
            assert_eq!(pieces.concat(), text);
            assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
        }
        assert!(pieces(&long)[1].starts_with(' '));
    }
}
