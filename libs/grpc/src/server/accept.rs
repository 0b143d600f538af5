//! The accept loop: TCP, TLS, the peer's name, HTTP/2, and an end to all of them.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::Semaphore};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::{Service, util::BoxCloneSyncService};

use wanwu_ids::{Ids, RequestId};

use super::{GrpcConfig, Server, body_limit::BodyLimit, linger::Linger};
use crate::{Peer, Tls, gather::Gather};

type Stack = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Calls under way on one connection: as many as an edge has at most. One more would wait for another to end
/// with no word to anybody; what is too much the service refuses itself, with a reason.
const MAX_STREAMS: u32 = 8192;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const MAX_HEADER_LIST: u32 = 64 << 10;
/// A pause after the machine refused a connection: mostly there are no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until `stop`, then waits for them to end, at most for the configured time.
///
/// Boxed: HTTP/2 over TLS is compiled here, once, and not in each crate that runs a server.
pub(super) fn accept(
    server: Server,
    stack: Stack,
    stop: CancellationToken,
) -> BoxFuture<'static, ()> {
    accept_until(server, stack, stop).boxed()
}

async fn accept_until(server: Server, stack: Stack, stop: CancellationToken) {
    let Server {
        listener,
        config,
        tls,
        ..
    } = server;
    let places = Arc::new(Semaphore::new(config.max_connections));
    let drain_timeout = config.drain_timeout;
    let config = Arc::new(config);
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();

    let accepting = async {
        loop {
            // A semaphore that nobody closes always gives its permits.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let tcp = match listener.accept().await {
                Ok((tcp, _)) => tcp,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (stack, config, tls) = (stack.clone(), Arc::clone(&config), tls.clone());
            let (stop, cut) = (stop.clone(), cut.clone());
            connections.spawn(async move {
                cut.run_until_cancelled(connection(tcp, stack, &config, &tls, stop))
                    .await;
                drop(place);
            });
        }
    };
    stop.run_until_cancelled(accepting).await;
    drop(listener);

    connections.close();
    if tokio::time::timeout(drain_timeout, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(connections = connections.len(), "calls are cut");
        cut.cancel();
        connections.wait().await;
    }
}

async fn connection(
    tcp: TcpStream,
    stack: Stack,
    config: &GrpcConfig,
    tls: &Tls,
    stop: CancellationToken,
) {
    let linger = match Linger::of(&tcp) {
        Ok(linger) => linger,
        Err(error) => return tracing::warn!(%error, "a connection was not accepted"),
    };
    let handshake = tokio::time::timeout(config.handshake_timeout, handshake(tcp, tls));
    let (stream, peer) = match stop.run_until_cancelled(handshake).await {
        Some(Ok(Ok(connected))) => connected,
        Some(Ok(Err(error))) => return tracing::debug!(%error, "a handshake failed"),
        Some(Err(_)) => return tracing::debug!("a handshake took too long"),
        None => return,
    };
    let max_body = config.max_body;
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(|body| Body::new(BodyLimit::new(body, max_body)));
        request.extensions_mut().insert(peer.clone());
        // The stack is always ready: it waits nowhere before a call.
        stack.clone().call(request)
    });
    let serving = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .serve_connection(TokioIo::new(Gather::new(stream)), service);

    let mut serving = pin!(serving);
    let mut old = pin!(tokio::time::sleep(age(config.max_connection_age)));
    let mut leaving = false;
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return linger.read_out().await;
            }
            () = stop.cancelled(), if !leaving => leaving = true,
            () = old.as_mut(), if !leaving => leaving = true,
        }
        serving.as_mut().graceful_shutdown();
    }
}

async fn handshake(tcp: TcpStream, tls: &Tls) -> io::Result<(TlsStream<TcpStream>, Peer)> {
    tcp.set_nodelay(true)?;
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.current().server));
    let stream = acceptor.accept(tcp).await?;
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first());
    let peer = certificate.and_then(Peer::of_certificate);
    let peer = peer.ok_or_else(|| io::Error::other("the certificate names no service of ours"))?;
    Ok((stream, peer))
}

/// The age at which a connection is replaced, a tenth more or less: replicas that started
/// together must not lose their connections together.
fn age(age: Duration) -> Duration {
    let chance: RequestId = Ids::system().id();
    let chance = f64::from(chance.uuid().as_bytes()[15]) / 255.0;
    age.mul_f64(0.9 + 0.2 * chance)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::{connect::secured, testing::TestAuthority};

    #[tokio::test]
    async fn small_frames_leave_at_once_in_both_directions() {
        let authority = TestAuthority::start().unwrap();
        let ours = authority.tls("identity").unwrap();
        let theirs = authority.tls("edge").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let accepted = async {
            let (tcp, _) = listener.accept().await.unwrap();
            handshake(tcp, &ours).await
        };
        let (server, client) = tokio::join!(accepted, secured("identity", &place, &theirs));
        let ((server, _), client) = (server.unwrap(), client.unwrap());
        assert!(server.get_ref().0.nodelay().unwrap());
        assert!(client.get_ref().0.nodelay().unwrap());
    }
}
