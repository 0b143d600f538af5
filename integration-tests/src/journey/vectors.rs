use serde_json::{Value, json};

use super::{ApiError, Journey, api::accepted};

const PATH: &str = "v1/embeddings";

/// What came back from a call of a model that makes vectors.
#[derive(Clone, Debug, Default)]
pub struct Vectors {
    /// One for each text, in their order.
    pub each: Vec<Vec<f64>>,
    /// The call.
    pub call_id: String,
}

impl Journey {
    /// Has vectors made of texts.
    ///
    /// # Errors
    /// When it is refused, or there is not a vector for each text.
    pub async fn embed(&self, model: &str, texts: &[&str]) -> Result<Vectors, ApiError> {
        let url = format!("{}/{PATH}", self.api.base());
        let body = json!({"model": model, "input": texts, "encoding_format": "float"});
        let request = self.api.http().post(url).bearer_auth(self.secret());
        let response = request.json(&body).send().await.map_err(transport)?;
        let response = accepted(PATH, response).await?;
        let call_id = response.headers().get("wanwu-call-id");
        let call_id = call_id.and_then(|id| id.to_str().ok()).unwrap_or_default();
        let call_id = call_id.to_owned();
        let answer: Value = response.json().await.map_err(transport)?;
        let items = answer["data"].as_array().into_iter().flatten();
        let each = items.map(vector).collect::<Option<Vec<_>>>();
        let each = each.filter(|each| each.len() == texts.len());
        let each = each.ok_or_else(|| ApiError::Lacks("vector for each text".to_owned()))?;
        Ok(Vectors { each, call_id })
    }
}

/// How near the directions of two vectors are: 1 where they are the same, 0 where they have nothing in common.
#[must_use]
pub fn cosine(one: &[f64], other: &[f64]) -> f64 {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    product(one, other) / (product(one, one) * product(other, other)).sqrt()
}

fn vector(item: &Value) -> Option<Vec<f64>> {
    let numbers = item["embedding"].as_array()?;
    numbers.iter().map(Value::as_f64).collect()
}

fn transport(source: reqwest::Error) -> ApiError {
    ApiError::Transport {
        method: PATH.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_compared_and_not_lengths() {
        let cases = [
            ([1.0, 2.0], [2.0, 4.0], 1.0),
            ([1.0, 0.0], [0.0, 3.0], 0.0),
            ([1.0, 1.0], [-2.0, -2.0], -1.0),
        ];
        for (one, other, expected) in cases {
            let near = cosine(&one, &other);
            assert!((near - expected).abs() < 1e-9, "{near}, not {expected}");
        }
    }
}
