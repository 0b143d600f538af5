//! `input` and `tools` of a responses request.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{BodyError, Images, invalid, read};

/// Items whose cost is bounded by their bytes, with parts in `content` or `output` or without.
const BOUNDED_ITEMS: [&str; 6] = [
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "reasoning",
];
/// Parts whose cost is.
const BOUNDED_PARTS: [&str; 6] = [
    "input_text",
    "output_text",
    "refusal",
    "reasoning_text",
    "summary_text",
    "text",
];
/// Tools that the client runs; every other one is the engine's, with a cost of its own.
const CLIENT_TOOLS: [&str; 2] = ["function", "custom"];

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    image_url: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Cow<'a, str>>,
}

/// Checks the input, a text or items.
pub(super) fn read_input(
    raw: &[u8],
    value: &RawValue,
    images: &mut Images,
) -> Result<(), BodyError> {
    match value.get().as_bytes().first() {
        Some(b'"') => return Ok(()),
        Some(b'[') => {}
        _ => return Err(invalid("input", "must be text or items")),
    }
    let items: Vec<Item<'_>> = read("input", value)?;
    if items.is_empty() {
        return Err(invalid("input", "must not be empty"));
    }
    for (at, item) in items.iter().enumerate() {
        let field = format!("input.{at}");
        match item.kind.as_deref() {
            // A message may leave its type out.
            None => {}
            Some(kind) if BOUNDED_ITEMS.contains(&kind) => {}
            Some("item_reference") => return Err(BodyError::StateNotKept { field }),
            Some(kind) => {
                let field = format!("{field}.{kind}");
                return Err(BodyError::UnboundedCost { field });
            }
        }
        let parts = [("content", item.content), ("output", item.output)];
        for (name, value) in parts {
            let list = value.filter(|value| value.get().starts_with('['));
            if let Some(list) = list {
                read_parts(raw, &format!("{field}.{name}"), list, images)?;
            }
        }
    }
    Ok(())
}

fn read_parts(
    raw: &[u8],
    field: &str,
    list: &RawValue,
    images: &mut Images,
) -> Result<(), BodyError> {
    for (at, part) in read::<Vec<Part<'_>>>(field, list)?.iter().enumerate() {
        let kind = part.kind.as_ref();
        let field = format!("{field}.{at}.{kind}");
        match part.image_url {
            Some(url) if kind == "input_image" => images.take(raw, &field, url)?,
            // `file_id` names what was stored.
            None if kind == "input_image" => return Err(BodyError::StateNotKept { field }),
            None if BOUNDED_PARTS.contains(&kind) => {}
            _ => return Err(BodyError::UnboundedCost { field }),
        }
    }
    Ok(())
}

/// Refuses tools that an engine would run itself.
pub(super) fn read_tools(value: &RawValue) -> Result<(), BodyError> {
    let tools: Option<Vec<Tool<'_>>> = read("tools", value)?;
    for (at, tool) in tools.iter().flatten().enumerate() {
        let hosted = tool
            .kind
            .as_deref()
            .filter(|kind| !CLIENT_TOOLS.contains(kind));
        if let Some(kind) = hosted {
            let field = format!("tools.{at}.{kind}");
            return Err(BodyError::UnboundedCost { field });
        }
    }
    Ok(())
}
