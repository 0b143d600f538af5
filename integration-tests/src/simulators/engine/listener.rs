//! Takes connections, or does to them what an ill engine does.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::illness::Illness;

/// Connections of an engine, by what became of them.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// Taken, whatever followed.
    pub taken: AtomicU64,
    /// Closed at once.
    pub refused: AtomicU64,
}

/// Serves until the process ends.
pub(super) async fn accept(
    listener: TcpListener,
    routes: Router,
    illness: watch::Receiver<Illness>,
    connections: Arc<Connections>,
) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        connections.taken.fetch_add(1, Ordering::Relaxed);
        if *illness.borrow() == Illness::Refuses {
            connections.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        // The peers measure what they add: waiting for a full packet is not theirs.
        stream.set_nodelay(true)?;
        #[allow(clippy::disallowed_methods, reason = "it ends with its connection")]
        tokio::spawn(serve(stream, routes.clone(), illness.clone()));
    }
}

/// One connection: it breaks when the engine begins to refuse, and is silent as long as the engine
/// is blackholed; then it breaks, as after the restart of what hung.
async fn serve(stream: TcpStream, routes: Router, mut illness: watch::Receiver<Illness>) {
    let service = TowerToHyperService::new(routes);
    let mut connection =
        std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let is_gone = |illness: &Illness| matches!(illness, Illness::Refuses | Illness::Blackholed);
    let mut seen = illness.clone();
    let falls = async { illness.wait_for(is_gone).await.ok().map(|illness| *illness) };
    tokio::select! {
        // The illness first: a blackholed engine answers nothing that it could have read yet.
        biased;
        fallen = falls => {
            if fallen == Some(Illness::Blackholed) {
                // The connection is open, and nobody reads it.
                seen.wait_for(|illness| *illness != Illness::Blackholed).await.ok();
            }
        }
        _ = &mut connection => {}
    }
}
