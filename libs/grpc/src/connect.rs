use std::{io, time::Duration};

use hyper::client::conn::http2::{Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::body::Body;

use crate::{Tls, gather::Gather};

/// One connection to a replica, and what drives it.
pub(crate) type Connected = (
    SendRequest<Body>,
    Connection<TokioIo<Gather<TlsStream<TcpStream>>>, Body, TokioExecutor>,
);

/// A connection cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the peer's name is not a DNS name")]
    Name,
    #[error("the peer cannot be reached, or its certificate is refused")]
    Io(#[from] io::Error),
    #[error("the peer does not speak HTTP/2")]
    Http(#[from] hyper::Error),
    #[error("the peer did not answer within {0:?}")]
    Timeout(Duration),
}

/// The longest time that a connection may take to be made, TLS included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// What a peer may send of one answer that nobody reads yet. The window of the connection has room for as many
/// as a connection has streams: who does not read never holds up others.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 512 << 20;
const MAX_HEADER_LIST: u32 = 64 << 10;

/// Connects to `place` and verifies that its certificate is of `service`.
pub(crate) async fn connect(
    service: &str,
    place: &str,
    tls: &Tls,
) -> Result<Connected, ConnectError> {
    tokio::time::timeout(CONNECT_TIMEOUT, handshakes(service, place, tls))
        .await
        .map_err(|_| ConnectError::Timeout(CONNECT_TIMEOUT))?
}

async fn handshakes(service: &str, place: &str, tls: &Tls) -> Result<Connected, ConnectError> {
    let stream = secured(service, place, tls).await?;
    let connected = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .handshake(TokioIo::new(Gather::new(stream)))
        .await?;
    Ok(connected)
}

/// The connection below HTTP/2.
pub(crate) async fn secured(
    service: &str,
    place: &str,
    tls: &Tls,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let name = ServerName::try_from(service.to_owned()).map_err(|_| ConnectError::Name)?;
    let tcp = TcpStream::connect(place).await?;
    tcp.set_nodelay(true)?;
    let connector = TlsConnector::from(std::sync::Arc::clone(&tls.current().client));
    Ok(connector.connect(name, tcp).await?)
}
