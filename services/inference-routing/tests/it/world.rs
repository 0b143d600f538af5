//! What surrounds the router in these tests.

pub mod billing;
pub mod devices;
pub mod engine;
pub mod rows;
pub mod served;

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use inference_routing::{
    Error,
    app::{App, Parts},
    commands::{
        Item, Reply,
        chat::{Caller, CreateCall},
        gen_ai,
    },
    config::Sections,
    domain::shape::Shape,
    peers::{PeerChannel, peer},
};
use serde_json::Value;
use sqlx::PgPool;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Server};
use tower::ServiceExt;
use tracing::Instrument;
use wanwu_clock::SystemClock;
use wanwu_ids::Ids;

use billing::FakeBilling;
use devices::FakeDevices;
use engine::FakeEngine;

/// Prices of the model `test`, in 10^-9 CNY.
pub const INPUT_PRICE: i64 = 2;
/// As above.
pub const OUTPUT_PRICE: i64 = 10;

/// A router and everything around it.
pub struct World {
    pub app: App,
    pub pool: PgPool,
    pub billing: FakeBilling,
    pub devices: FakeDevices,
    pub engine: FakeEngine,
    pub caller: Caller,
    /// The signal to stop.
    pub stop: CancellationToken,
    /// No call comes any more.
    served: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// What a client got.
#[derive(Debug)]
pub struct Got {
    pub call_id: String,
    pub frames: Vec<Value>,
    /// The frames as they came.
    pub raw: Vec<String>,
    /// The names of the events, where they have names.
    pub events: Vec<String>,
    pub error: Option<Value>,
}

impl World {
    /// A router with the defaults.
    pub async fn start(pool: PgPool) -> Self {
        Self::with(pool, |_| {}).await
    }

    /// A router with some settings changed.
    pub async fn with(pool: PgPool, change: impl FnOnce(&mut Sections)) -> Self {
        let billing = FakeBilling::start(&pool).await;
        let devices = FakeDevices::start().await;
        let engine = FakeEngine::start().await;
        let caller = Caller {
            account_id: id(),
            app_id: id(),
            key_id: id(),
        };
        billing.give(caller.account_id, 1_000_000_000);
        let mut config = config(&[&engine.url]);
        change(&mut config);
        let app = router(pool.clone(), config, &billing, &devices).await;
        let mut world = Self {
            app,
            pool,
            billing,
            devices,
            engine,
            caller,
            stop: CancellationToken::new(),
            served: CancellationToken::new(),
            tasks: Vec::new(),
        };
        world.run().await;
        world
    }

    async fn run(&mut self) {
        self.tasks = spawn(&mut self.app, &self.stop, &self.served);
        wait_for("the epoch to begin", async || self.app.is_ready()).await;
    }

    /// Kills the router: nothing of it runs any more, nothing is tidied up.
    pub fn kill(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }

    /// Stops the router as a signal does.
    pub async fn shut_down(&mut self) {
        self.stop.cancel();
        self.served.cancel();
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
    }

    /// Another router on the same database and with the same neighbours.
    pub async fn second(&self, change: impl FnOnce(&mut Sections)) -> Second {
        let mut config = config(&[&self.engine.url]);
        change(&mut config);
        let mut app = router(self.pool.clone(), config, &self.billing, &self.devices).await;
        let stop = CancellationToken::new();
        let tasks = spawn(&mut app, &stop, &stop);
        wait_for("the second epoch to begin", async || app.is_ready()).await;
        Second { app, stop, tasks }
    }

    /// Begins a call.
    pub async fn begin(&self, body: &Value) -> Result<Reply, Error> {
        self.create(self.request(body)).await
    }

    /// Begins a call in its span, as the service does.
    async fn create(&self, request: CreateCall) -> Result<Reply, Error> {
        let span = gen_ai::span(request.shape);
        self.app.chat.create(request).instrument(span).await
    }

    /// A request with this body.
    pub fn request(&self, body: &Value) -> CreateCall {
        CreateCall {
            shape: Shape::Chat,
            caller: self.caller,
            body: Bytes::from(body.to_string()),
            device_token: String::new(),
            idempotency_key: String::new(),
        }
    }

    /// Makes a call of another shape and reads its whole answer.
    pub async fn call_as(&self, shape: Shape, body: &Value) -> Result<Got, Error> {
        let mut request = self.request(body);
        request.shape = shape;
        Ok(read(self.create(request).await?).await)
    }

    /// Makes a call and reads its whole answer.
    pub async fn call(&self, body: &Value) -> Result<Got, Error> {
        Ok(read(self.begin(body).await?).await)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A second router.
pub struct Second {
    pub app: App,
    #[allow(dead_code, reason = "it lives as long as the router")]
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Second {
    fn drop(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

fn spawn(
    app: &mut App,
    stop: &CancellationToken,
    served: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let tasks = app.tasks(stop.clone(), served.clone());
    tasks
        .into_iter()
        .map(|(name, task)| {
            tokio::spawn(async move {
                if let Err(error) = task.await {
                    eprintln!("{name}: {error}");
                }
            })
        })
        .collect()
}

async fn router(
    pool: PgPool,
    config: Sections,
    billing: &FakeBilling,
    devices: &FakeDevices,
) -> App {
    let parts = Parts {
        config,
        production: false,
        integrity: None,
        journal_pool: pool.clone(),
        pool,
        billing: billing.channel.clone(),
        device_registry: devices.channel.clone(),
        ids: Ids::system(),
        clock: Arc::new(SystemClock),
        replica: "test".to_owned(),
    };
    App::build(parts).unwrap()
}

/// The defaults, with the model `test` on these engines.
pub fn config(engines: &[&str]) -> Sections {
    let defaults: toml::Table = toml::from_str(inference_routing::config::DEFAULTS).unwrap();
    let mut sections = defaults;
    for shell in [
        "service",
        "grpc",
        "admin",
        "tls",
        "peers",
        "database",
        "broker",
        "telemetry",
    ] {
        sections.remove(shell);
    }
    let mut config: Sections = sections.try_into().unwrap();
    let engines: String = engines
        .iter()
        .map(|url| format!("[[engines]]\nurl = \"{url}\"\n"))
        .collect();
    let model = format!(
        "name = \"test\"\nengine_model = \"engine-test\"\ncreated_at = \"2026-11-01T00:00:00Z\"\n\
         context_tokens = 4096\ndefault_max_tokens = 100\ntemplate_allowance_tokens = 16\n{engines}"
    );
    config.models.push(toml::from_str(&model).unwrap());
    config
}

/// All shapes: the model `test` answers those of chat, the model `vectors` embeddings.
pub fn all_shapes(config: &mut Sections) {
    let test = &mut config.models[0];
    test.shapes = Some(vec![Shape::Chat, Shape::Completions, Shape::Responses]);
    let mut vectors = test.clone();
    vectors.name = "vectors".to_owned();
    vectors.capability = "embedding".to_owned();
    vectors.shapes = None;
    config.models.push(vectors);
}

/// A chat request for the model `test` that the engine answers by this script.
pub fn chat(stream: bool, script: Value) -> Value {
    serde_json::json!({
        "model": "test",
        "messages": [{"role": "user", "content": "你好，请回答"}],
        "stream": stream,
        "wanwu_script": script,
    })
}

/// Reads an answer to its end.
pub async fn read(mut reply: Reply) -> Got {
    let mut got = Got {
        call_id: reply.call_id.to_string(),
        frames: Vec::new(),
        raw: Vec::new(),
        events: Vec::new(),
        error: None,
    };
    while let Some(item) = reply.next().await {
        match item.unwrap() {
            Item::Data(frame) => {
                got.frames
                    .push(serde_json::from_slice(&frame.data).unwrap());
                got.raw
                    .push(String::from_utf8(frame.data.to_vec()).unwrap());
                got.events.extend(frame.event.map(String::from));
            }
            Item::Error(error) => got.error = Some(serde_json::from_slice(&error).unwrap()),
        }
    }
    got
}

impl Got {
    /// The text of a streamed answer.
    pub fn text(&self) -> String {
        let content = |frame: &Value| {
            frame["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        };
        self.frames.iter().filter_map(content).collect()
    }
}

/// A new id.
pub fn id<K>() -> wanwu_ids::Id<K> {
    Ids::system().id()
}

/// Waits until something is true, at most ten seconds.
pub async fn wait_for(what: &str, is_true: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_true().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Serves gRPC on loopback; answers a channel to it.
pub async fn serve<F, S>(router: F) -> PeerChannel
where
    F: FnOnce(tokio_stream::wrappers::TcpListenerStream) -> S,
    S: Future<Output = Result<(), tonic::transport::Error>> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = router(tokio_stream::wrappers::TcpListenerStream::new(listener));
    tokio::spawn(server);
    loopback(
        Channel::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_lazy(),
    )
}

/// A plain channel as a peer's.
pub fn loopback(channel: Channel) -> PeerChannel {
    peer(channel.map_err(|error| tonic::Status::from_error(error.into())))
}

/// A gRPC server.
pub fn server() -> Server {
    Server::builder().tcp_nodelay(true)
}
