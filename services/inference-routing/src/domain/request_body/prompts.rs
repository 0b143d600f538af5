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

/// The most texts of one request.
const MAX_PROMPTS: usize = 2048;

/// Checks the texts; answers how many there are.
pub(super) fn read_prompts(
    field: &str,
    value: &RawValue,
    tokens: TokenIds,
) -> Result<u64, BodyError> {
    let items: Vec<&RawValue> = match first(value) {
        Some(b'"') => return Ok(1),
        Some(b'[') => read(field, value)?,
        _ => return Err(invalid(field, "must be a text or several")),
    };
    if items.is_empty() {
        return Err(invalid(field, "must not be empty"));
    }
    let texts = items.iter().filter(|item| first(item) == Some(b'"'));
    if texts.count() == items.len() {
        return count(field, items.len());
    }
    if tokens == TokenIds::Refused {
        return Err(invalid(
            field,
            "must be text: what is written as tokens cannot be screened",
        ));
    }
    // No token is shorter than a byte: these lists are bounded as texts are.
    if read::<Vec<u32>>(field, value).is_ok() {
        return Ok(1);
    }
    let lists: Vec<Vec<u32>> = read(field, value)
        .map_err(|_| invalid(field, "must be a text, tokens, or a list of one of them"))?;
    count(field, lists.len())
}

fn count(field: &str, count: usize) -> Result<u64, BodyError> {
    if count > MAX_PROMPTS {
        return Err(invalid(
            field,
            &format!("must be at most {MAX_PROMPTS} texts"),
        ));
    }
    Ok(count as u64)
}

fn first(value: &RawValue) -> Option<u8> {
    value.get().as_bytes().first().copied()
}
