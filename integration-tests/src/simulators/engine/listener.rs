//! Takes connections, or does to them what an ill engine does.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::AsyncReadExt,
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
    /// On which a call came that nobody reads, or may have come: those that were open when the engine was
    /// blackholed, and those with a call since.
    pub swallowed: AtomicU64,
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
        let ill = *illness.borrow();
        if ill == Illness::Refuses {
            connections.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        // The peers measure what they add: waiting for a full packet is not theirs.
        stream.set_nodelay(true)?;
        let (illness, connections) = (illness.clone(), connections.clone());
        if ill == Illness::Blackholed {
            #[allow(clippy::disallowed_methods, reason = "it ends with its connection")]
            tokio::spawn(swallow(stream, illness, connections));
        } else {
            #[allow(clippy::disallowed_methods, reason = "it ends with its connection")]
            tokio::spawn(serve(stream, routes.clone(), illness, connections));
        }
    }
}

/// One connection: it breaks when the engine begins to refuse, and is silent as long as the engine
/// is blackholed; then it breaks, as after the restart of what hung.
async fn serve(
    stream: TcpStream,
    routes: Router,
    mut illness: watch::Receiver<Illness>,
    connections: Arc<Connections>,
) {
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
                connections.swallowed.fetch_add(1, Ordering::Relaxed);
                // The connection is open, and nobody reads it.
                seen.wait_for(|illness| *illness != Illness::Blackholed).await.ok();
            }
        }
        _ = &mut connection => {}
    }
}

/// One connection of a blackholed engine. What comes is taken and never answered, until the other side is
/// tired of it or the engine is well; then it breaks.
async fn swallow(
    mut stream: TcpStream,
    mut illness: watch::Receiver<Illness>,
    connections: Arc<Connections>,
) {
    let heals = async {
        illness
            .wait_for(|illness| *illness != Illness::Blackholed)
            .await
            .ok();
    };
    let takes = async {
        let mut bytes = [0; 4096];
        if stream.read_exact(&mut bytes[..4]).await.is_ok() && bytes.starts_with(b"POST") {
            connections.swallowed.fetch_add(1, Ordering::Relaxed);
        }
        while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    };
    tokio::select! {
        () = heals => {}
        () = takes => {}
    }
}
