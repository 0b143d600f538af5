//! `GET /v1/models` and `/v1/models/{id}`: the catalogue in OpenAI's shape.

use std::collections::HashMap;

use http::{Response, StatusCode};
use serde_json::{Value, json};
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt};
use wanwu_access::refusal;
use wanwu_proto::inference::v1::{ListModelsRequest, ListModelsResponse, Model};

use crate::{edge::Edge, refusal_json::json_response, upstream::Call, visit::Visit};

/// Where the models are.
pub const MODELS: &str = "/v1/models";
const PATH: &str = "/wanwu.inference.v1.ModelService/ListModels";
const OWNER: &str = "wanwu";

/// Lists the models, or shows the one that the path names.
pub async fn models(edge: &Edge, visit: &mut Visit) -> Result<Response<Body>, Status> {
    let contracts = edge.contracts.load_full();
    let method = contracts.method(PATH).ok_or_else(Edge::unknown_method)?;
    let headers = &visit.parts.headers;
    let admitted = edge
        .admission
        .admit(&contracts, method, headers, &visit.arrival)
        .await;
    let call = Call {
        principal: Some(admitted.map_err(refusal)?),
        channel: edge.upstream.find(&method.target, headers)?,
        path: PATH,
        request_id: &visit.arrival.request_id,
        timeout: edge.limits.unary_timeout,
        affinity: None,
    };
    visit.forwarded();
    let listed: ListModelsResponse = call
        .ask(&ListModelsRequest {}, edge.limits.max_json_answer)
        .await?;
    let asked = visit
        .parts
        .uri
        .path()
        .strip_prefix(MODELS)
        .unwrap_or_default();
    let body = match asked.strip_prefix('/').filter(|id| !id.is_empty()) {
        None => {
            let data: Vec<Value> = listed.models.iter().map(model).collect();
            json!({"object": "list", "data": data})
        }
        Some(id) => {
            let id = unescaped(id);
            let found = listed
                .models
                .iter()
                .find(|model| model.name.as_bytes() == id);
            model(found.ok_or_else(not_found)?)
        }
    };
    Ok(json_response(StatusCode::OK, &body))
}

fn model(model: &Model) -> Value {
    let created = model.create_time.as_ref().map_or(0, |time| time.seconds);
    json!({"id": model.name, "object": "model", "created": created, "owned_by": OWNER})
}

fn not_found() -> Status {
    let metadata = HashMap::<String, String>::new();
    let details = ErrorDetails::with_error_info("MODEL_NOT_FOUND", "inference.wanwu", metadata);
    Status::with_error_details(Code::NotFound, "there is no model with this name", details)
}

/// `%2F` and the like as the bytes that they stand for (RFC 3986).
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| after.get(..2)).flatten();
        let mut byte = [0];
        if let Some(digits) = escaped
            && hex::decode_to_slice(digits, &mut byte).is_ok()
        {
            bytes.push(byte[0]);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_any_character() {
        let cases = [
            ("qwen3", "qwen3"),
            ("Qwen%2FQwen3-0.6B", "Qwen/Qwen3-0.6B"),
            ("Qwen/Qwen3", "Qwen/Qwen3"),
            ("%E4%B8%87", "万"),
            ("100%", "100%"),
            ("%zz", "%zz"),
        ];
        for (text, expected) in cases {
            assert_eq!(unescaped(text), expected.as_bytes(), "{text}");
        }
    }
}
