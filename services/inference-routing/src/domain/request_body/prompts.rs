//! `prompt` of completions and `input` of embeddings: a text or several, as text or as tokens.

use serde_json::value::RawValue;

use super::{BodyError, invalid, read};

/// Tokens in place of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenIds {
    /// They pass.
    Taken,
    /// They are refused: nobody here can read them, and an answer is made of them.
    Refused,
}

/// What there is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prompts {
    /// How many prompts.
    pub(super) count: u64,
    /// The tokens that they are written as; 0: they are text.
    pub(super) tokens: u64,
}

/// The most texts of one request.
const MAX_PROMPTS: usize = 2048;

/// Checks the texts; answers how many there are.
pub(super) fn read_prompts(
    field: &str,
    value: &RawValue,
    tokens: TokenIds,
) -> Result<Prompts, BodyError> {
    let items: Vec<&RawValue> = match first(value) {
        Some(b'"') => return prompts(field, 1, 0),
        Some(b'[') => read(field, value)?,
        _ => return Err(invalid(field, "must be a text or several")),
    };
    if items.is_empty() {
        return Err(invalid(field, "must not be empty"));
    }
    let texts = items.iter().filter(|item| first(item) == Some(b'"'));
    if texts.count() == items.len() {
        return prompts(field, items.len(), 0);
    }
    if tokens == TokenIds::Refused {
        return Err(invalid(
            field,
            "must be text: what is written as tokens cannot be screened",
        ));
    }
    // No token is shorter than a byte: these lists are bounded as texts are.
    if let Ok(ids) = read::<Vec<u32>>(field, value) {
        return prompts(field, 1, ids.len());
    }
    let lists: Vec<Vec<u32>> = read(field, value)
        .map_err(|_| invalid(field, "must be a text, tokens, or a list of one of them"))?;
    let ids = lists.iter().map(Vec::len).sum::<usize>();
    prompts(field, lists.len(), ids)
}

fn prompts(field: &str, count: usize, tokens: usize) -> Result<Prompts, BodyError> {
    if count > MAX_PROMPTS {
        return Err(invalid(
            field,
            &format!("must be at most {MAX_PROMPTS} texts"),
        ));
    }
    Ok(Prompts {
        count: count as u64,
        tokens: tokens as u64,
    })
}

fn first(value: &RawValue) -> Option<u8> {
    value.get().as_bytes().first().copied()
}
