//! An edge with services behind it, each with its own certificate, on ports of their own.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use edge::{App, Config, DEFAULTS};
use opentelemetry::{global, trace::TracerProvider};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use reqwest::{Client, Method, RequestBuilder};
use serde::Deserialize;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Request, Status,
    client::Grpc,
    service::Routes,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tracing_subscriber::layer::SubscriberExt;
use wanwu_clock::TestClock;
use wanwu_grpc::{GrpcConfig, Server, testing::TestAuthority};
use wanwu_ids::Ids;
use wanwu_testkit::{test_clock, wait_for};

use crate::{
    echo::{self, Heard, Say},
    identity::Identity,
    inference::Inference,
};

/// The edge and what stands around it.
pub struct World {
    pub address: SocketAddr,
    pub identity: Identity,
    pub echo: Heard,
    pub inference: Inference,
    /// Where inference-routing is.
    pub routing: SocketAddr,
    pub clock: TestClock,
    /// The descriptors that the edge follows.
    pub descriptors: PathBuf,
    pub draining: CancellationToken,
    /// Stops the edge alone.
    pub edge_stop: CancellationToken,
    identity_stop: CancellationToken,
    _folder: TempDir,
    _stop: DropGuard,
}

/// An address of loopback that the example table does not know.
pub const ABROAD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 9, 9, 9));
/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(10);

impl World {
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// An edge whose configuration has these sections, too.
    pub async fn start_with(toml: &str) -> Self {
        prepare();
        let stop = CancellationToken::new();
        let authority = TestAuthority::start().unwrap();
        let identity_stop = stop.child_token();
        let identity = Identity::new(&identity_stop);
        let (echo, inference) = (Heard::default(), Inference::default());
        let routing = serve(&authority, "inference-routing", inference.routes(), &stop).await;
        let peers = [
            (
                "identity",
                serve(&authority, "identity", identity.routes(), &identity_stop).await,
            ),
            (
                "billing",
                serve(&authority, "billing", echo.routes(), &stop).await,
            ),
            ("inference-routing", routing),
            // Nobody is there.
            ("device-registry", SocketAddr::from(([127, 0, 0, 1], 1))),
        ];
        let folder = tempfile::tempdir().unwrap();
        let descriptors = folder.path().join("descriptors.bin");
        std::fs::write(&descriptors, echo::descriptors()).unwrap();

        let config = config(&authority, &peers, &descriptors, toml);
        let clock = test_clock();
        let (draining, edge_stop) = (stop.child_token(), stop.child_token());
        let ids = Ids::system();
        let app = App::build(config, Arc::new(clock.clone()), ids, draining.clone())
            .await
            .unwrap();
        let address = app.address();
        for (_, task) in app.tasks(&edge_stop) {
            tokio::spawn(task);
        }
        let world = Self {
            address,
            identity,
            echo,
            inference,
            routing,
            clock,
            descriptors,
            draining,
            edge_stop,
            identity_stop,
            _folder: folder,
            _stop: stop.drop_guard(),
        };
        world.ready().await;
        world
    }

    /// Waits until the services are connected and the watches speak.
    async fn ready(&self) {
        let (token, _) = self.identity.account();
        let metadata = format!("Bearer {token}");
        wait_for("the services", PATIENCE, || async {
            let mut request = Request::new(say("ready"));
            request
                .metadata_mut()
                .insert("authorization", metadata.parse().unwrap());
            self.grpc().await.say("SayAsAccount", request).await.is_ok()
        })
        .await;
        self.echo.calls.lock().clear();
    }

    /// Identity is lost.
    pub fn lose_identity(&self) {
        self.identity_stop.cancel();
    }

    /// A gRPC client at an address of loopback.
    pub async fn grpc_from(&self, from: IpAddr) -> Caller {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let channel = endpoint.local_address(Some(from)).connect().await.unwrap();
        Caller(channel)
    }

    pub async fn grpc(&self) -> Caller {
        self.grpc_from(Ipv4Addr::LOCALHOST.into()).await
    }

    /// An HTTP request from an address of loopback.
    pub fn http_from(&self, from: IpAddr, method: Method, path: &str) -> RequestBuilder {
        let client = Client::builder()
            .no_proxy()
            .local_address(from)
            .build()
            .unwrap();
        client.request(method, format!("http://{}{path}", self.address))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http_from(Ipv4Addr::LOCALHOST.into(), Method::POST, path)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.http_from(Ipv4Addr::LOCALHOST.into(), Method::GET, path)
    }
}

/// A gRPC client.
pub struct Caller(pub Channel);

impl Caller {
    /// Calls a unary method of the echo.
    pub async fn say(
        &self,
        method: &str,
        request: Request<Say>,
    ) -> Result<tonic::Response<Say>, Status> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready()
            .await
            .map_err(|error| Status::unknown(error.to_string()))?;
        let path = format!("/wanwu.billing.v1.EchoService/{method}")
            .parse()
            .unwrap();
        grpc.unary(request, path, ProstCodec::default()).await
    }

    /// Calls with a credential.
    pub async fn say_as(&self, method: &str, credential: &str) -> Result<Say, Status> {
        let mut request = Request::new(say("hello"));
        let value = format!("Bearer {credential}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        self.say(method, request)
            .await
            .map(tonic::Response::into_inner)
    }
}

pub fn say(text: &str) -> Say {
    Say {
        text: text.to_owned(),
        number: 0,
    }
}

/// The reason in a status.
pub fn reason(status: &Status) -> String {
    use tonic_types::StatusExt;
    let details = status.get_error_details();
    details
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

fn config(
    authority: &TestAuthority,
    peers: &[(&str, SocketAddr)],
    descriptors: &std::path::Path,
    toml: &str,
) -> Config {
    let tls = authority.issue("edge").unwrap();
    let mut table: toml::Table = DEFAULTS.parse().unwrap();
    let mut set = format!(
        "[grpc]\nlisten = '127.0.0.1:0'\n[descriptors]\nfile = {descriptors:?}\n\
         [tls]\nca_file = {:?}\ncert_file = {:?}\nkey_file = {:?}\n[peers]\n",
        tls.ca_file, tls.cert_file, tls.key_file,
    );
    for (service, address) in peers {
        set.push_str(&format!("{service} = 'https://{address}'\n"));
    }
    for layer in [set.as_str(), toml] {
        for (section, values) in layer.parse::<toml::Table>().unwrap() {
            let section = table.get_mut(&section).unwrap().as_table_mut().unwrap();
            section.extend(values.as_table().unwrap().clone());
        }
    }
    Config::deserialize(table).unwrap()
}

/// Serves a service with a certificate of its own until `stop`; answers where.
pub async fn serve(
    authority: &TestAuthority,
    service: &str,
    routes: Routes,
    stop: &CancellationToken,
) -> SocketAddr {
    let config = GrpcConfig {
        max_body: 16 << 20,
        drain_timeout: Duration::ZERO,
        ..GrpcConfig::default()
    };
    let server = Server::bind(&config, &authority.tls(service).unwrap())
        .await
        .unwrap();
    let address = server.local_addr();
    let stop = stop.clone();
    tokio::spawn(async move {
        let access = tower::layer::util::Identity::new();
        server
            .run(routes, access, stop.clone(), stop)
            .await
            .unwrap();
    });
    address
}

/// What a process does once.
fn prepare() {
    static DONE: OnceLock<SdkTracerProvider> = OnceLock::new();
    DONE.get_or_init(|| {
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .ok();
        global::set_text_map_propagator(TraceContextPropagator::new());
        let provider = SdkTracerProvider::builder().build();
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let filter = tracing_subscriber::filter::LevelFilter::INFO;
        let subscriber = tracing_subscriber::registry().with(filter).with(spans);
        tracing::subscriber::set_global_default(subscriber).unwrap();
        provider
    });
}
