//! Fields that are refused: with a cost that nobody can know beforehand, or that want content kept.

use serde_json::value::RawValue;

use super::{BodyError, Shape, invalid};

/// Refuses a field that does not pass.
pub(super) fn check(shape: Shape, name: &str, value: &RawValue) -> Result<(), BodyError> {
    if matches!(value.get(), "null" | "false") {
        return Ok(());
    }
    let field = name.to_owned();
    match (shape, name) {
        // A template may repeat its input as often as it likes; a search adds what it finds.
        (Shape::Chat, "chat_template" | "web_search_options") => {
            Err(BodyError::UnboundedCost { field })
        }
        // What is not text cannot be screened.
        (Shape::Chat, "audio") => Err(invalid(name, "answers are text")),
        (Shape::Chat, "modalities") if !is_text_only(value) => {
            Err(invalid(name, "answers are text"))
        }
        (Shape::Completions | Shape::Embeddings, "prompt_embeds") => Err(invalid(
            name,
            "must be text: what is written as vectors cannot be screened",
        )),
        (Shape::Chat | Shape::Responses, "store") => Err(BodyError::StateNotKept { field }),
        (Shape::Responses, "background" | "previous_response_id" | "conversation" | "prompt") => {
            Err(BodyError::StateNotKept { field })
        }
        (Shape::Embeddings, "stream") => Err(invalid(name, "embeddings are not streamed")),
        _ => Ok(()),
    }
}

fn is_text_only(value: &RawValue) -> bool {
    serde_json::from_str::<Vec<String>>(value.get())
        .is_ok_and(|kinds| kinds.iter().all(|kind| kind == "text"))
}
