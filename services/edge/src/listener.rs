//! The public port: TCP, HTTP/1.1 and HTTP/2 in plaintext, and an end to all connections.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use metrics::counter;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Limits,
    edge::Edge,
    idle::Running,
    pace::{LeastRate, Pace},
    stalled::Patient,
    streams::Streams,
};

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// A pause after the machine refused a connection: mostly there are no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often a half preface is looked at again.
const PEEK_PAUSE: Duration = Duration::from_millis(20);
/// How every HTTP/2 connection begins (RFC 9113).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Accepts connections until `stop`, then lets requests finish for the configured time.
pub async fn accept(listener: TcpListener, edge: Arc<Edge>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(edge.limits.max_connections));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let accepting = async {
        loop {
            // A semaphore that nobody closes always gives its permits.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let (tcp, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let edge = Arc::clone(&edge);
            let (stop, cut) = (stop.clone(), cut.clone());
            connections.spawn(async move {
                cut.run_until_cancelled(connection(tcp, peer, edge, stop))
                    .await;
                drop(place);
            });
        }
    };
    stop.run_until_cancelled(accepting).await;
    drop(listener);
    connections.close();
    if tokio::time::timeout(edge.limits.drain_timeout, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(connections = connections.len(), "requests are cut");
        cut.cancel();
        connections.wait().await;
    }
}

fn builder(limits: &Limits, running: &Arc<Running>) -> Builder<Streams> {
    let mut builder = Builder::new(Streams::new(limits, Arc::clone(running)));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.max_headers)
        .max_buf_size(limits.max_header_bytes as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(limits.max_streams_per_connection)
        .max_header_list_size(limits.max_header_bytes)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

async fn connection(tcp: TcpStream, peer: SocketAddr, edge: Arc<Edge>, stop: CancellationToken) {
    let header_timeout = edge.limits.header_timeout;
    let begun = tokio::time::timeout(header_timeout, begin(&tcp));
    let protocol = match stop.run_until_cancelled(begun).await {
        Some(Ok(Ok(protocol))) => protocol,
        Some(Ok(Err(error))) => return tracing::debug!(%error, "a connection did not begin"),
        Some(Err(_)) => return tracing::debug!("a connection stayed silent"),
        None => return,
    };
    let least = LeastRate::of_answers(&edge.limits);
    let tcp = Patient::new(tcp, Pace::takes(least, edge.limits.stall_timeout));
    let running = Running::none();
    let builder = builder(&edge.limits, &running);
    let idle_timeout = edge.limits.idle_timeout;
    let service = service_fn(move |request| Arc::clone(&edge).answer(peer.ip(), request));
    let mut serving = pin!(builder.serve_connection(TokioIo::new(tcp), service));
    let (mut leaving, mut told, mut since) = (false, false, Instant::now());
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection broke");
                }
                return;
            }
            () = stop.cancelled(), if !leaving => leaving = true,
            () = running.rest(since, idle_timeout), if protocol == Protocol::Http2 => {
                if told {
                    // It may answer pings, but not the one that asks whether it has heard.
                    return tracing::debug!("an idle connection was told to end, and is cut");
                }
                if !leaving {
                    counter!("edge_idle_connections_total").increment(1);
                }
                (told, since) = (true, Instant::now());
            }
        }
        serving.as_mut().graceful_shutdown();
    }
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Waits until the client's first bytes say which protocol it speaks; no timer of hyper runs
/// before it knows.
async fn begin(tcp: &TcpStream) -> io::Result<Protocol> {
    tcp.set_nodelay(true)?;
    let mut first = [0; PREFACE.len()];
    loop {
        let length = tcp.peek(&mut first).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[..length] != PREFACE[..length] {
            return Ok(Protocol::Http1);
        }
        if length == PREFACE.len() {
            return Ok(Protocol::Http2);
        }
        tokio::time::sleep(PEEK_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn small_frames_leave_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(connecting, listener.accept());
        let (mut client, (tcp, _)) = (client.unwrap(), accepted.unwrap());
        client.write_all(b"GET").await.unwrap();
        begin(&tcp).await.unwrap();
        assert!(tcp.nodelay().unwrap());
    }
}
