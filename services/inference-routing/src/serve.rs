//! The application as a process: with its database, its peers and its port.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;
use wanwu_access::AccessLayer;
use wanwu_clock::SystemClock;
use wanwu_events::{Consumers, Relay};
use wanwu_grpc::{Server, Tls};
use wanwu_ids::Ids;
use wanwu_postgres::DatabaseConfig;
use wanwu_proto::operations::v1::dead_letter_service_server::DeadLetterServiceServer;
use wanwu_service::{Environment, Shell};
use wanwu_watch::WatchedStanding;

use crate::{
    app::{App, Parts},
    commands::chat::Chat,
    config::Config,
    grpc,
    peers::peer,
};

/// The service's name.
pub const NAME: &str = "inference-routing";

/// Builds the service and starts its tasks.
///
/// Boxed: all of it is compiled in this crate, and not again in the program and the tests.
pub fn start(config: Config, shell: &Shell) -> BoxFuture<'_, anyhow::Result<()>> {
    start_tasks(config, shell).boxed()
}

async fn start_tasks(config: Config, shell: &Shell) -> anyhow::Result<()> {
    let tls = Tls::load(&config.tls)?;
    shell.spawn_infallible("tls", tls.clone().reload(shell.stopping()));
    let pool = wanwu_postgres::connect(&config.database, NAME).await?;
    wanwu_postgres::residency::check_pool(pool.clone(), config.service.region.clone()).await?;
    // The journal never waits behind anybody for a connection.
    let journal_config = DatabaseConfig {
        max_connections: 1,
        ..config.database.clone()
    };
    let journal_pool = wanwu_postgres::connect(&journal_config, NAME).await?;
    let standing = WatchedStanding::new(config.peers.channel("identity", &tls)?);
    shell.spawn_infallible("standing", standing.clone().run(shell.stopping()));
    let relay = Relay::new(pool.clone(), config.broker.clone(), NAME);
    shell.spawn_infallible("relay", relay.run(shell.stopping()));
    let clock = Arc::new(SystemClock);
    let consumers = Consumers::new(pool.clone(), config.broker.clone(), NAME, clock.clone());

    let mut app = App::build(Parts {
        production: config.service.environment == Environment::Production,
        integrity: config.label_key()?,
        journal_pool,
        pool,
        billing: peer(config.peers.channel("billing", &tls)?),
        device_registry: peer(config.peers.channel("device-registry", &tls)?),
        ids: Ids::system(),
        clock,
        replica: config.grpc.listen.to_string(),
        config: config.sections(),
    })?;
    let served = CancellationToken::new();
    for (name, task) in app.tasks(shell.stopping(), served.clone()) {
        shell.spawn(name, task);
    }
    let routes =
        grpc::routes(&app).add_service(DeadLetterServiceServer::new(consumers.dead_letters()));
    let access = AccessLayer::of_contracts(Some(Arc::new(standing)));
    let (chat, latch) = (Arc::clone(&app.chat), shell.latch());
    let (draining, stopping) = (shell.draining(), shell.stopping());
    shell.spawn("grpc", async move {
        let _served = served.drop_guard();
        ready(&chat, &draining).await;
        let server = Server::bind(&config.grpc, &tls).await?;
        drop(latch);
        server.run(routes, access, draining, stopping).await?;
        anyhow::Ok(())
    });
    Ok(())
}

/// Waits until calls may come. A port that is open before draws those whose turn it is, and every one
/// is refused although another replica would answer it.
async fn ready(chat: &Chat, stop: &CancellationToken) {
    while !chat.is_ready() && !stop.is_cancelled() {
        sleep(Duration::from_millis(20)).await;
    }
}
