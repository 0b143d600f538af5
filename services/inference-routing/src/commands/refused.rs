//! Calls that are refused before they are dispatched, counted by reason.

use metrics::Label;
use wanwu_grpc::Failure;

use super::gen_ai::CallSpan;
use crate::error::Error;

/// Counts a refusal, shows it in the span of the call and hands it on. The reason is the one that the client is told. Without a model that
/// the catalogue knows there is no label of one: what a client calls it is no label.
pub fn counted(error: Error, model: Option<&str>) -> Error {
    let reason = error.reason();
    let reason = reason.strip_prefix("ERROR_REASON_").unwrap_or(reason);
    CallSpan::current().refused(reason);
    let mut labels = vec![Label::from_static_parts("reason", reason)];
    labels.extend(model.map(|model| Label::new("model", model.to_owned())));
    metrics::counter!("inference_routing_refusals", labels).increment(1);
    error
}
