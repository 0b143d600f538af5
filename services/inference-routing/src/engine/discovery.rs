//! Where engines come from: an address, a headless service by DNS, or a file of addresses. The
//! last two are read again, so engines are added, drained and removed without a restart.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use http::HeaderValue;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::pool::{Named, Pool};

/// How long one reading may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The most engines that one source may name.
const MOST: usize = 256;

/// What names engines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `http://host:port`: one engine.
    Address(String),
    /// `dns:host:port`: an engine at every address of the name.
    Dns {
        /// The name, usually a headless service's.
        host: String,
        /// The engines' port.
        port: u16,
    },
    /// `file:/path`: a line for each engine, `http://host:port`, with ` draining` after it where
    /// it is to get no more calls; `#` begins a comment.
    File(PathBuf),
}

/// A source that is read again and again.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The pool that it fills.
    pub pool: Arc<Pool>,
    /// Its place in the configuration of the model.
    pub at: usize,
    /// What is read.
    pub source: Source,
    /// The header that its engines want.
    pub authorization: Option<HeaderValue>,
    /// Engines on this machine are refused.
    pub production: bool,
}

impl Source {
    /// Reads what the configuration says; none: it is no source.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(place) = text.strip_prefix("dns:") {
            let (host, port) = place.rsplit_once(':')?;
            let (host, port) = (host.to_owned(), port.parse().ok()?);
            return (!host.is_empty()).then_some(Self::Dns { host, port });
        }
        if let Some(path) = text.strip_prefix("file:") {
            return path.starts_with('/').then(|| Self::File(path.into()));
        }
        host(text).map(|_| Self::Address(text.to_owned()))
    }

    /// It names an engine on this machine.
    #[must_use]
    pub fn is_here(&self) -> bool {
        match self {
            Self::Address(url) => host(url).is_some_and(|host| is_here(&host)),
            Self::Dns { host, .. } => is_here(host),
            Self::File(_) => false,
        }
    }

    /// What it names now; names are looked up as in [`look_up`].
    pub async fn read<L, F>(&self, look_up: &L) -> io::Result<Vec<Named>>
    where
        L: Fn(String, u16) -> F,
        F: Future<Output = io::Result<Vec<SocketAddr>>>,
    {
        let named = |url: String, draining| Named { url, draining };
        match self {
            Self::Address(url) => Ok(vec![named(url.clone(), false)]),
            Self::Dns { host, port } => {
                let mut places = look_up(host.clone(), *port).await?;
                places.sort();
                places.dedup();
                let url = |place: SocketAddr| named(format!("http://{place}"), false);
                Ok(places.into_iter().take(MOST).map(url).collect())
            }
            Self::File(path) => lines(&tokio::fs::read_to_string(path).await?),
        }
    }
}

impl Watched {
    /// Reads once. What cannot be read, or is empty, changes nothing: an ill name service is no
    /// reason to leave engines that are well.
    pub async fn refresh<L, F>(&self, look_up: &L)
    where
        L: Fn(String, u16) -> F,
        F: Future<Output = io::Result<Vec<SocketAddr>>>,
    {
        let read = timeout(LIMIT, self.source.read(look_up)).await;
        let read = read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match read {
            Ok(mut named) => {
                let here = |n: &Named| host(&n.url).is_some_and(|host| is_here(&host));
                named.retain(|n| !(self.production && here(n)));
                if !named.is_empty() {
                    let header = self.authorization.as_ref();
                    self.pool.name(self.at, &named, header, Instant::now());
                }
            }
            Err(error) => {
                let model = self.pool.model().to_owned();
                metrics::counter!("inference_routing_discovery_failures", "model" => model)
                    .increment(1);
                tracing::warn!(
                    model = self.pool.model(),
                    source = ?self.source,
                    error = &error as &dyn std::error::Error,
                    "the engines of a source could not be read"
                );
            }
        }
    }
}

/// Every address of a host with this port, as this machine looks names up.
pub async fn look_up(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let places = tokio::net::lookup_host((host.as_str(), port)).await?;
    Ok(places.collect())
}

/// Reads every source each `every` until `stop`; names are looked up as in [`look_up`].
pub async fn discover<L, F>(
    sources: Vec<Watched>,
    look_up: L,
    every: Duration,
    stop: CancellationToken,
) where
    L: Fn(String, u16) -> F,
    F: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        join_all(sources.iter().map(|source| source.refresh(&look_up))).await;
    }
}

fn lines(text: &str) -> io::Result<Vec<Named>> {
    let mut all = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let (url, draining) = match line.split_once(char::is_whitespace) {
            Some((url, state)) if state.trim() == "draining" => (url, true),
            None if line.is_empty() => continue,
            None => (line, false),
            Some(_) => return Err(io::Error::other("a line is no engine")),
        };
        if host(url).is_none() || all.len() == MOST {
            return Err(io::Error::other("a line is no engine, or too many are"));
        }
        let url = url.to_owned();
        all.push(Named { url, draining });
    }
    Ok(all)
}

/// The host of an `http://` address.
fn host(url: &str) -> Option<String> {
    let uri = url.parse::<http::Uri>().ok()?;
    let http = uri.scheme_str() == Some("http");
    let host = uri.host().filter(|host| http && !host.is_empty())?;
    Some(host.to_owned())
}

fn is_here(host: &str) -> bool {
    matches!(host, "localhost" | "[::1]" | "0.0.0.0") || host.starts_with("127.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_address_a_name_or_a_file() {
        let dns = Source::Dns {
            host: "vllm.models.svc".to_owned(),
            port: 8000,
        };
        let cases = [
            (
                "http://10.0.0.7:8000",
                Some(Source::Address("http://10.0.0.7:8000".to_owned())),
            ),
            ("dns:vllm.models.svc:8000", Some(dns)),
            (
                "file:/etc/engines",
                Some(Source::File("/etc/engines".into())),
            ),
            ("https://10.0.0.7", None),
            ("dns:vllm", None),
            ("file:engines", None),
            ("", None),
        ];
        for (text, source) in cases {
            assert_eq!(Source::parse(text), source, "{text}");
        }
    }

    #[test]
    fn a_file_says_who_is_there_and_who_is_to_leave() {
        let text = "# ours\nhttp://a:1\n\nhttp://b:2 draining # soon\n";
        let named = lines(text).unwrap();
        let seen: Vec<_> = named.iter().map(|n| (n.url.as_str(), n.draining)).collect();
        assert_eq!(seen, [("http://a:1", false), ("http://b:2", true)]);
        for bad in ["ftp://a", "http://a gone", "a"] {
            assert!(lines(bad).is_err(), "{bad}");
        }
    }
}
