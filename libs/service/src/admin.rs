use std::io;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wanwu_telemetry::Metrics;

use crate::{AdminConfig, Shell};

/// What the admin port shows.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) shell: Shell,
    pub(crate) metrics: Metrics,
}

/// Answers `/live`, `/ready` and `/metrics`, until `end`: also while the process drains.
pub(crate) async fn serve(
    config: &AdminConfig,
    admin: Admin,
    end: CancellationToken,
) -> io::Result<impl Future<Output = ()> + use<>> {
    let listener = TcpListener::bind(config.listen).await?;
    let router = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin);
    Ok(async move {
        let serve = axum::serve(listener, router).into_future();
        if let Some(Err(error)) = end.run_until_cancelled(serve).await {
            tracing::error!(%error, "the admin port failed");
        }
    })
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.shell.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(admin): State<Admin>) -> String {
    admin.metrics.render()
}
