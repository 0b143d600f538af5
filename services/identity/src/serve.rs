//! The service as a process: with its database, its peers and its port.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use tokio_util::sync::CancellationToken;
use wanwu_clock::{SharedClock, SharedEntropy, SystemClock, SystemEntropy};
use wanwu_events::Relay;
use wanwu_grpc::{Server, Tls};
use wanwu_personal::KeyProvider;
use wanwu_postgres::residency;
use wanwu_proto::operations::v1::dead_letter_service_server::DeadLetterServiceServer;
use wanwu_service::Shell;

use crate::{
    app::{App, NAME, Parts},
    config::{Config, SmsConfig},
    providers::alibaba_sms::{AlibabaAccess, AlibabaSms},
};

/// Builds the service and starts its tasks.
///
/// Boxed: all of it is compiled in this crate, and not again in the program and the tests.
pub fn start(config: Config, shell: &Shell) -> BoxFuture<'_, anyhow::Result<()>> {
    start_tasks(config, shell).boxed()
}

async fn start_tasks(config: Config, shell: &Shell) -> anyhow::Result<()> {
    let tls = Tls::load(&config.tls)?;
    shell.spawn_infallible("tls", tls.clone().reload(shell.stopping()));
    let app = build(&config, &tls, shell.stopping()).await?;
    for (name, task) in app.tasks(&shell.stopping()) {
        shell.spawn_infallible(name, task);
    }
    let relay = Relay::new(app.pool.clone(), config.broker.clone(), NAME);
    shell.spawn_infallible("relay", relay.run(shell.stopping()));
    let consumers = app.consumers(config.broker.clone());
    let dead_letters = DeadLetterServiceServer::new(consumers.dead_letters());
    shell.spawn_infallible("consumers", consumers.run(shell.stopping()));

    let routes = app.routes().add_service(dead_letters);
    let server = Server::bind(&config.grpc, &tls).await?;
    shell.spawn(
        "grpc",
        server.run(routes, app.access(), shell.draining(), shell.stopping()),
    );
    Ok(())
}

/// The service for a command on the host: no server, no tasks.
pub fn on_host(config: &Config) -> BoxFuture<'_, anyhow::Result<Arc<App>>> {
    async move { build(config, &Tls::load(&config.tls)?, CancellationToken::new()).await }.boxed()
}

async fn build(config: &Config, tls: &Tls, stop: CancellationToken) -> anyhow::Result<Arc<App>> {
    let pool = wanwu_postgres::connect(&config.database, NAME).await?;
    residency::check_pool(pool.clone(), config.service.region.clone()).await?;
    let clock: SharedClock = Arc::new(SystemClock);
    let entropy: SharedEntropy = Arc::new(SystemEntropy::default());
    Ok(App::new(Parts {
        keys: Arc::new(KeyProvider::from_file(&config.keys.file)?),
        limits: config.codes.into(),
        sms: sms(&config.sms, &clock, &entropy)?,
        templates: config.sms.templates.clone(),
        privacy: config.peers.channel("privacy", tls)?,
        verification: config.peers.channel("verification", tls)?,
        pool,
        clock,
        entropy,
        stop,
    }))
}

fn sms(
    config: &SmsConfig,
    clock: &SharedClock,
    entropy: &SharedEntropy,
) -> anyhow::Result<AlibabaSms> {
    let access = AlibabaAccess {
        base: config.base_url.clone(),
        access_key_id: config.access_key_id.clone(),
        access_key_secret: config.secret()?,
        sign_name: config.sign_name.clone(),
    };
    Ok(AlibabaSms::new(
        access,
        Arc::clone(clock),
        Arc::clone(entropy),
    )?)
}
