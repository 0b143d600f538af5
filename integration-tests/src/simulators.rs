//! The other side of the providers: processes that speak their protocols, check their signatures,
//! keep their own record of the truth, and can be told to be late, to repeat themselves, to lie, to
//! lose. They share no code with the services.
//!
//! Each answers `GET /_truth`, `POST /_faults` (a list, see [`faults::Fault`]), `DELETE /_faults`.

pub mod agency;
pub mod alipay;
pub mod bare;
pub mod engine;
pub mod fast_engine;
pub mod faults;
pub mod sms;
pub mod wechat_pay;

use std::{collections::VecDeque, net::SocketAddr};

use axum::Router;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{net::TcpListener, signal::unix::SignalKind};

/// Serves a simulator until SIGTERM.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(listen: SocketAddr, routes: Router) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        // The peers measure what they add: waiting for a full packet is not theirs.
        let _ = stream.set_nodelay(true);
    });
    let mut stop = tokio::signal::unix::signal(SignalKind::terminate())?;
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move {
            stop.recv().await;
        })
        .await?;
    Ok(())
}

/// Keeps the last requests.
fn remember(requests: &Mutex<VecDeque<Value>>, request: Value) {
    let mut requests = requests.lock();
    if requests.len() >= 64 {
        requests.pop_front();
    }
    requests.push_back(request);
}
