//! The texts of a prompt, for a tokenizer to count, and the tokens that it is written as.

use serde_json::Value;

use super::RequestBody;

/// Members of messages, items and parts whose strings the model reads.
const READ: [&str; 10] = [
    "content",
    "text",
    "refusal",
    "thinking",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "output",
    "summary",
];

impl RequestBody {
    /// The texts that the model reads, as far as a template does not make them: instructions, contents
    /// and calls of tools, and the tools as they stand.
    #[must_use]
    pub fn prompt_texts(&self) -> Vec<String> {
        let [instructions, tools, prompt] = self.prompt();
        let mut texts = vec![String::from_utf8_lossy(tools).into_owned()];
        for part in [instructions, prompt] {
            let value: Value = serde_json::from_slice(part).unwrap_or_default();
            gather(&value, &mut texts);
        }
        texts
    }

    /// The tokens that the client wrote as numbers: what of a prompt is no text and needs no tokenizer.
    #[must_use]
    pub const fn prompt_token_ids(&self) -> u64 {
        self.token_ids
    }
}

fn gather(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| gather(value, texts)),
        Value::Object(members) => {
            let read = members
                .iter()
                .filter(|(name, _)| READ.contains(&name.as_str()));
            read.for_each(|(_, value)| gather(value, texts));
        }
        _ => {}
    }
}
