//! JSON over HTTP for every unary method: protobuf's JSON in and out, by the descriptors alone.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, header::CONTENT_TYPE};
use http_body_util::Full;
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor};
use serde_json::error::Category;
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt};
use wanwu_access::{Reason, refusal};
use wanwu_grpc::{DOMAIN, platform_status};

use crate::{
    edge::Edge,
    messages::{Messages, PREFIX, put_prefix},
    upstream::Call,
    visit::Visit,
};

/// Answers a JSON request by a call of the method that its path names.
pub async fn transcode(edge: &Edge, visit: &mut Visit) -> Result<Response<Body>, Status> {
    let contracts = edge.contracts.load_full();
    let method = contracts
        .method(visit.parts.uri.path())
        .ok_or_else(Edge::unknown_method)?;
    if method.client_streaming || method.server_streaming {
        let message = "the method is a stream: call it by gRPC";
        return Err(platform_status(
            Code::Unimplemented,
            Reason::UnknownMethod,
            message,
        ));
    }
    let headers = &visit.parts.headers;
    let admitted = edge
        .admission
        .admit(&contracts, method, headers, &visit.arrival)
        .await;
    let principal = admitted.map_err(refusal)?;
    let channel = edge.upstream.find(&method.target, headers)?;
    let whole = visit.read(edge.limits.max_json_body, &edge.limits).await?;
    let message = parse(method.input.clone(), &whole.into_bytes())?;

    let mut frame = BytesMut::with_capacity(PREFIX + message.encoded_len());
    put_prefix(&mut frame, message.encoded_len());
    message.encode(&mut frame).expect("the buffer grows");
    visit.forwarded();
    let call = Call {
        channel,
        path: &method.path,
        principal: Some(principal),
        request_id: &visit.arrival.request_id,
        timeout: edge.limits.unary_timeout,
        affinity: None,
    };
    let answer = call.send(Body::new(Full::new(frame.freeze()))).await?;
    let (_, mut messages) = Messages::of(answer, edge.limits.max_json_answer)?;
    let answer = messages
        .next()
        .await?
        .ok_or_else(|| refusal(Reason::Internal))?;
    // The status comes after the message.
    if messages.next().await?.is_some() {
        return Err(refusal(Reason::Internal));
    }
    let json = print(method.output.clone(), answer)?;
    let mut response = Response::new(Body::new(Full::from(json)));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

/// The message in a JSON document; an empty body is an empty message.
fn parse(descriptor: MessageDescriptor, json: &[u8]) -> Result<DynamicMessage, Status> {
    if json.iter().all(u8::is_ascii_whitespace) {
        return Ok(DynamicMessage::new(descriptor));
    }
    let name = descriptor.full_name().to_owned();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let message = DynamicMessage::deserialize_with_options(descriptor, &mut deserializer, &options);
    message
        .and_then(|message| deserializer.end().map(|()| message))
        .map_err(|error| not_valid(&name, &error))
}

/// Says where the document is wrong. The parser's own words could repeat what was sent, so only
/// the kind of the mistake and its place are told.
fn not_valid(message: &str, error: &serde_json::Error) -> Status {
    let unknown_field = error.to_string().starts_with("unrecognized field name");
    let what = match error.classify() {
        Category::Data if unknown_field => format!("there is no such field in {message}"),
        Category::Data => format!("the value does not fit {message}"),
        Category::Eof => "the JSON ends too early".to_owned(),
        Category::Syntax | Category::Io => "this is not JSON".to_owned(),
    };
    let place = format!("line {} column {}", error.line(), error.column());
    let text = format!("the body is not valid at {place}: {what}");
    let metadata = HashMap::<String, String>::new();
    let mut details = ErrorDetails::with_error_info("INVALID_ARGUMENT", DOMAIN, metadata);
    details.add_bad_request_violation(place, what);
    Status::with_error_details(Code::InvalidArgument, text, details)
}

fn print(descriptor: MessageDescriptor, message: Bytes) -> Result<Vec<u8>, Status> {
    let internal = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "an answer cannot be shown as JSON");
        refusal(Reason::Internal)
    };
    let mut json = Vec::with_capacity(message.len() * 2);
    let message = DynamicMessage::decode(descriptor, message).map_err(|error| internal(&error))?;
    serde_json::to_writer(&mut json, &message).map_err(|error| internal(&error))?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    fn status(json: &str) -> Status {
        let pool = DescriptorPool::decode(wanwu_proto::DESCRIPTORS).unwrap();
        let name = "wanwu.operations.v1.ListDeadLettersRequest";
        let descriptor = pool.get_message_by_name(name).unwrap();
        match parse(descriptor, json.as_bytes()) {
            Ok(_) => Status::ok(""),
            Err(status) => status,
        }
    }

    #[test]
    fn a_wrong_document_is_told_where_and_never_what() {
        let cases = [
            ("", ""),
            (" \n", ""),
            ("{}", ""),
            (r#"{"pageSize": 3, "page_token": "x"}"#, ""),
            ("{\n \"pageSize\": }", "line 2 column 14: this is not JSON"),
            (
                r#"{"pageSize": 1"#,
                "line 1 column 14: the JSON ends too early",
            ),
            (r#"{} {}"#, "line 1 column 4: this is not JSON"),
            (
                r#"{"phone": "13800138000"}"#,
                "there is no such field in wanwu.operations.v1.ListDeadLettersRequest",
            ),
            (
                r#"{"pageSize": "13800138000000"}"#,
                "the value does not fit wanwu.operations.v1.ListDeadLettersRequest",
            ),
            (
                "[]",
                "the value does not fit wanwu.operations.v1.ListDeadLettersRequest",
            ),
        ];
        for (json, expected) in cases {
            let status = status(json);
            assert!(
                status.message().ends_with(expected),
                "{json}: {}",
                status.message()
            );
            assert!(!status.message().contains("13800138000"));
            let code = if expected.is_empty() {
                Code::Ok
            } else {
                Code::InvalidArgument
            };
            assert_eq!(status.code(), code, "{json}");
        }
    }
}
