//! How answers are to be made, as traces show it: numbers, and a kind of output. Where they are to stop
//! (`stop`) is not among them: it is the client's own text.

use std::ops::Range;

use serde::{Deserialize, de::DeserializeOwned};

use super::RequestBody;

/// The fields that are looked at.
const NAMES: [&str; 7] = [
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "response_format",
    "text",
];

/// Where their values stand; an empty one is not there.
#[derive(Clone, Debug, Default)]
pub(super) struct Places([Range<usize>; NAMES.len()]);

/// Settings that a request has. What is no number is none: the engine refuses it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Settings {
    /// The temperature.
    pub temperature: Option<f64>,
    /// The share of probable tokens among which is chosen.
    pub top_p: Option<f64>,
    /// The penalty for tokens by how often they were there.
    pub frequency_penalty: Option<f64>,
    /// The penalty for tokens that were there.
    pub presence_penalty: Option<f64>,
    /// Where chance begins.
    pub seed: Option<i64>,
    /// `gen_ai.output.type` of OpenTelemetry's conventions.
    pub output: Option<&'static str>,
}

/// A form of output, as chat has it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Format {
    #[serde(rename = "type")]
    kind: String,
}

/// The same, as responses have it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Text {
    format: Format,
}

impl Places {
    /// A field stands here.
    pub(super) fn see(&mut self, name: &str, at: &Range<usize>) {
        if let Some(known) = NAMES.iter().position(|known| *known == name) {
            self.0[known] = at.clone();
        }
    }
}

impl RequestBody {
    /// Its settings, read now: only traces show them.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let format = self.setting("response_format");
        let format = format.or_else(|| Some(self.setting::<Text>("text")?.format));
        let output = format.and_then(|Format { kind }| match kind.as_str() {
            "text" => Some("text"),
            "json_object" | "json_schema" => Some("json"),
            _ => None,
        });
        Settings {
            temperature: self.setting("temperature"),
            top_p: self.setting("top_p"),
            frequency_penalty: self.setting("frequency_penalty"),
            presence_penalty: self.setting("presence_penalty"),
            seed: self.setting("seed"),
            output,
        }
    }

    fn setting<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let known = NAMES.iter().position(|known| *known == name)?;
        let json = &self.raw[self.settings.0[known].clone()];
        serde_json::from_slice(json).ok()
    }
}
