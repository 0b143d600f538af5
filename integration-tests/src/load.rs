//! Load that costs little itself: raw HTTP/1.1 over connections that stay open, one request at a
//! time on each, every answer read to its end and timed.

mod cpu;
mod lean;
mod memory;
mod stream;
mod summary;

pub use cpu::{CpuMeter, family, foremost, on_processor, pin, put_back};
pub use lean::{Lean, lean};
pub use memory::{resident, resident_kib};
pub(crate) use stream::take_event;
pub use stream::{Event, Stream};
pub use summary::{Summary, quantile};

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

/// The headers that name the trace and the call of an answer.
const TRACE_ID: &str = "wanwu-trace-id";
pub(crate) const CALL_ID: &str = "wanwu-call-id";

/// Where requests go, and what they are.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`.
    pub authority: String,
    /// The path of the request.
    pub path: String,
    /// A bearer credential, where one is asked for.
    pub bearer: Option<String>,
    /// The JSON of the request.
    pub body: Bytes,
    /// Headers beside the usual ones.
    pub headers: Vec<(&'static str, String)>,
}

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Until the first byte of the answer's body.
    pub first: Duration,
    /// Until the answer's end.
    pub whole: Duration,
    /// The trace, where the answer names one.
    pub trace_id: Option<String>,
}

/// What a load saw.
#[derive(Clone, Debug)]
pub struct Load {
    /// Every request, in no order.
    pub samples: Vec<Sample>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Target {
    /// A target at an `http://host:port/path` address.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(address: &str, bearer: Option<&str>, body: Bytes) -> anyhow::Result<Self> {
        let url = url::Url::parse(address)?;
        let host = url.host_str().context("the address has no host")?;
        let port = url.port_or_known_default().context("it has no port")?;
        Ok(Self {
            authority: format!("{host}:{port}"),
            path: url.path().to_owned(),
            bearer: bearer.map(str::to_owned),
            body,
            headers: Vec::new(),
        })
    }

    /// The request that is sent.
    pub(crate) fn request(&self) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::post(&self.path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(bearer) = &self.bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        Ok(request.body(Full::new(self.body.clone()))?)
    }
}

/// Sends `calls` requests over so many connections. A warm-up of one request on each connection
/// is not counted.
///
/// # Errors
/// When a connection fails or an answer is no success: a load that is refused measures nothing.
pub async fn run(target: &Target, connections: usize, calls: usize) -> anyhow::Result<Load> {
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut connection = connect(target).await?;
        one(target, &mut connection).await?;
        open.push(connection);
    }
    let begin = Instant::now();
    let each = calls.div_ceil(connections);
    let workers: Vec<_> = open
        .into_iter()
        .map(|mut connection| {
            let target = target.clone();
            tokio::spawn(async move {
                let mut samples = Vec::with_capacity(each);
                for _ in 0..each {
                    samples.push(one(&target, &mut connection).await?);
                }
                anyhow::Ok(samples)
            })
        })
        .collect();
    let mut samples = Vec::with_capacity(each * connections);
    for worker in workers {
        samples.extend(worker.await??);
    }
    Ok(Load {
        samples,
        elapsed: begin.elapsed(),
    })
}

async fn connect(target: &Target) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(&target.authority).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn one(target: &Target, connection: &mut SendRequest<Full<Bytes>>) -> anyhow::Result<Sample> {
    let begin = Instant::now();
    connection.ready().await?;
    let response = connection.send_request(target.request()?).await?;
    let status = response.status();
    let trace_id = trace_id(response.headers());
    let mut body = response.into_body();
    let mut first = None;
    let mut refused = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame?.into_data().unwrap_or_default();
        first.get_or_insert_with(|| begin.elapsed());
        if !status.is_success() && refused.len() < 1000 {
            refused.extend_from_slice(&data);
        }
    }
    ensure!(
        status.is_success(),
        "{status}: {}",
        String::from_utf8_lossy(&refused)
    );
    let whole = begin.elapsed();
    Ok(Sample {
        first: first.unwrap_or(whole),
        whole,
        trace_id,
    })
}

fn trace_id(headers: &HeaderMap) -> Option<String> {
    text(headers, TRACE_ID)
}

fn call_id(headers: &HeaderMap) -> Option<String> {
    text(headers, CALL_ID)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}
