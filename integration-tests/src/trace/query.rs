use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use serde_json::{Value, json};

use super::store::Store;

/// Traces that a list shows.
const LIST: usize = 50;

/// `GET /traces`, `GET /traces/{trace_id}`, `GET /healthz`.
pub(crate) fn router(store: Arc<Store>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/traces", get(newest))
        .route("/traces/{trace_id}", get(trace))
        .with_state(store)
}

async fn newest(State(store): State<Arc<Store>>) -> Json<Value> {
    let traces = store.newest(LIST).into_iter();
    let traces: Vec<Value> = traces
        .map(|(trace_id, spans)| json!({"trace_id": trace_id, "spans": spans}))
        .collect();
    Json(json!({"traces": traces}))
}

async fn trace(
    State(store): State<Arc<Store>>,
    Path(trace_id): Path<String>,
) -> (StatusCode, Json<Value>) {
    match store.trace(&trace_id) {
        Some(spans) => (
            StatusCode::OK,
            Json(json!({"trace_id": trace_id, "spans": spans})),
        ),
        None => (
            StatusCode::NOT_FOUND,
            Json(json!({"error": "no such trace"})),
        ),
    }
}
