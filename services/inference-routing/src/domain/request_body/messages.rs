//! `messages` of a chat request.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{BodyError, Images, invalid, read};

/// Kinds of content parts whose cost is bounded by their bytes.
const BOUNDED_PARTS: [&str; 3] = ["text", "refusal", "thinking"];

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    audio: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    image_url: Option<&'a RawValue>,
}

/// Checks the messages; answers the bytes of their content.
pub(super) fn read_messages(
    raw: &[u8],
    value: &RawValue,
    images: &mut Images,
) -> Result<u64, BodyError> {
    let messages: Vec<Message<'_>> = read("messages", value)?;
    if messages.is_empty() {
        return Err(invalid("messages", "must not be empty"));
    }
    let mut bytes = 0;
    for (at, message) in messages.iter().enumerate() {
        if message.audio.is_some() {
            return Err(BodyError::UnboundedCost {
                field: format!("messages.{at}.audio"),
            });
        }
        let Some(content) = message.content else {
            continue;
        };
        bytes += content.get().len() as u64;
        let field = format!("messages.{at}.content");
        match content.get().as_bytes().first() {
            Some(b'"' | b'n') => {}
            Some(b'[') => read_parts(raw, &field, content, images)?,
            _ => return Err(invalid(&field, "must be text or parts")),
        }
    }
    Ok(bytes)
}

fn read_parts(
    raw: &[u8],
    field: &str,
    content: &RawValue,
    images: &mut Images,
) -> Result<(), BodyError> {
    for (at, part) in read::<Vec<Part<'_>>>(field, content)?.iter().enumerate() {
        let kind = part.kind.as_ref();
        let field = format!("{field}.{at}.{kind}");
        match part.image_url {
            Some(url) if kind == "image_url" => images.take(raw, &field, url)?,
            None if BOUNDED_PARTS.contains(&kind) => {}
            _ => return Err(BodyError::UnboundedCost { field }),
        }
    }
    Ok(())
}
