//! An engine that fails with every call and says that it is well.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt, stream};
use inference_routing::config::EngineAddress;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

use crate::world::config;

/// How an engine fails that says that it is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It answers 500.
    Unable,
    /// Its connection breaks: of a stream before the first text, of a whole answer in the middle.
    Breaks,
    /// It ends there, as an answer does that is whole.
    Ends,
    /// The connection of a stream breaks behind the first text.
    BreaksLater,
}

/// An engine that fails with every call.
pub struct Failing {
    url: String,
    asked: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Failing {
    pub async fn start(fault: Fault) -> Self {
        let asked = Arc::<AtomicUsize>::default();
        let count = asked.clone();
        let answer = move |body: Bytes| {
            count.fetch_add(1, Ordering::Relaxed);
            async move { fail(fault, &body) }
        };
        let router = Router::new()
            .route("/health", get(|| async {}))
            .fallback(answer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked, server }
    }

    /// Calls that reached it.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    pub fn addresses(&self) -> Vec<EngineAddress> {
        config(&[&self.url]).models.remove(0).engines
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Says of what an engine that is well would say as much as the fault lets it.
fn fail(fault: Fault, body: &[u8]) -> Response {
    if fault == Fault::Unable {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let asked: Value = serde_json::from_slice(body).unwrap();
    let script = &asked["wanwu_script"];
    let says: Vec<String> = serde_json::from_value(script["verbatim"].clone()).unwrap();
    let said = if asked["stream"] == true {
        let text_at = script["text_at"].as_u64().unwrap() as usize;
        let until = text_at + usize::from(fault == Fault::BreaksLater);
        let events = says[..until].iter();
        let events: String = events.map(|json| format!("data: {json}\n\n")).collect();
        events.into_bytes()
    } else {
        let mut whole = says.concat().into_bytes();
        whole.truncate(whole.len() / 2);
        whole
    };
    if fault == Fault::Ends {
        return said.into_response();
    }
    let said = stream::once(async move { Ok::<_, io::Error>(Bytes::from(said)) });
    let breaks = stream::once(async {
        // What was said is on its way before the connection breaks.
        sleep(Duration::from_millis(20)).await;
        Err::<Bytes, _>(io::Error::other("broken"))
    });
    Body::from_stream(said.chain(breaks)).into_response()
}
