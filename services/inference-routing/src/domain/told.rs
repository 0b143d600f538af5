//! The text of an answer, kept as it came so that a tokenizer can count it.

use std::collections::BTreeMap;

use super::chunk::Piece;

/// More is not kept: such an answer is counted by its chunks.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Texts of all answers and kinds, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Told {
    text: String,
    /// Whose text ends where: runs of one place.
    runs: Vec<((u32, u8), usize)>,
    too_long: bool,
}

impl Told {
    /// Takes a piece in.
    pub fn push(&mut self, piece: &Piece<'_>) {
        if self.too_long || self.text.len() + piece.text.len() > MOST_BYTES {
            self.too_long = true;
            return;
        }
        self.text.push_str(piece.text);
        let end = self.text.len();
        match self
            .runs
            .last_mut()
            .filter(|(place, _)| *place == piece.place)
        {
            Some((_, last)) => *last = end,
            None => self.runs.push((piece.place, end)),
        }
    }

    /// How much text it is, all places together.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.text.len()
    }

    /// Nothing was said.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The text of each place among the first `len` bytes; `None`: not all of it was kept, or `len`
    /// is not where a piece ended.
    #[must_use]
    pub fn texts(&self, len: usize) -> Option<Vec<String>> {
        if self.too_long {
            return None;
        }
        let mut texts: BTreeMap<(u32, u8), String> = BTreeMap::new();
        let mut from = 0;
        for (place, end) in &self.runs {
            let end = (*end).min(len);
            if from < end {
                texts
                    .entry(*place)
                    .or_default()
                    .push_str(self.text.get(from..end)?);
            }
            from = end;
        }
        Some(texts.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pieces: &[(u32, &str)]) -> Told {
        let mut told = Told::default();
        for (index, text) in pieces {
            told.push(&Piece {
                place: (*index, 0),
                text,
            });
        }
        told
    }

    #[test]
    fn what_came_mixed_is_taken_apart_up_to_what_was_sent() {
        let told = told(&[(0, "北"), (0, "京"), (1, "ab"), (0, "的"), (1, "c")]);
        assert_eq!(told.texts(told.len()).unwrap(), ["北京的", "abc"]);
        assert_eq!(told.texts(8).unwrap(), ["北京", "ab"]);
        assert_eq!(told.texts(3).unwrap(), ["北"]);
        assert!(told.texts(0).unwrap().is_empty());
        assert_eq!(told.texts(4), None, "no end of a piece");
    }

    #[test]
    fn an_endless_answer_is_not_kept() {
        let long = "x".repeat(MOST_BYTES);
        let mut told = told(&[(0, &long)]);
        assert!(told.texts(told.len()).is_some());
        told.push(&Piece {
            place: (0, 0),
            text: "y",
        });
        assert_eq!(told.texts(1), None);
        assert_eq!(told.len(), MOST_BYTES);
    }
}
