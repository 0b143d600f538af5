//! `/v1/embeddings`: a vector that is the same for the same text.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Numbers of a vector.
const DIMENSIONS: usize = 8;

/// The answer to one input or several; usage is left to the caller.
pub(super) fn answer(input: &Value, format: &str) -> Value {
    let inputs: Vec<&Value> = match input {
        // A list of tokens is one input.
        Value::Array(values) if !values.iter().all(Value::is_number) => values.iter().collect(),
        one => vec![one],
    };
    let data: Vec<Value> = inputs
        .into_iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = vector(input);
            let embedding = match format {
                "base64" => json!(STANDARD.encode(vector.map(f32::to_le_bytes).concat())),
                _ => json!(vector),
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    json!({"object": "list", "model": "scripted", "data": data})
}

fn vector(input: &Value) -> [f32; DIMENSIONS] {
    std::array::from_fn(|place| {
        let mut hasher = DefaultHasher::new();
        (place, input.to_string()).hash(&mut hasher);
        // Halves and quarters are the same in every format.
        (hasher.finish() % 9) as f32 / 4.0 - 1.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_has_one_vector_in_both_formats() {
        let floats = answer(&json!(["a", "b"]), "float");
        let base64 = answer(&json!("b"), "base64");
        let bytes = STANDARD
            .decode(base64["data"][0]["embedding"].as_str().unwrap())
            .unwrap();
        let numbers: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
            .collect();
        assert_eq!(floats["data"][1]["embedding"], json!(numbers));
        assert_ne!(floats["data"][0], floats["data"][1]);
        assert_eq!(
            answer(&json!([1, 2]), "float")["data"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        assert_eq!(
            answer(&json!([[1], [2]]), "float")["data"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }
}
