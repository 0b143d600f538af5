//! A provider's other side: `simulator sms|wechat-pay|alipay|agency|engine|fast-engine|
//! bare-edge|bare-router --listen ADDRESS [--config FILE]
//! [--control ADDRESS] [--also ADDRESS]`.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use integration_tests::simulators::{
    agency, alipay, bare, engine, fast_engine, serve, sms, wechat_pay,
};
use serde::de::DeserializeOwned;

#[derive(Parser)]
struct Arguments {
    /// Which provider.
    kind: Kind,
    /// Where to answer.
    #[arg(long)]
    listen: SocketAddr,
    /// Where an engine is told to fall ill, and answers for the truth whatever ails it.
    #[arg(long)]
    control: Option<SocketAddr>,
    /// Where the same fast engine answers too, to those who then see two.
    #[arg(long)]
    also: Option<SocketAddr>,
    /// Its configuration, TOML.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Sms,
    WechatPay,
    Alipay,
    Agency,
    Engine,
    FastEngine,
    BareEdge,
    BareRouter,
}

impl Arguments {
    fn config<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        let path = self.config.as_ref().context("--config FILE is needed")?;
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(toml::from_str(&text)?)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    let arguments = Arguments::parse();
    let routes = match arguments.kind {
        Kind::Sms => sms::routes(arguments.config()?),
        Kind::WechatPay => wechat_pay::routes(arguments.config()?)?,
        Kind::Alipay => alipay::routes(arguments.config()?)?,
        Kind::Agency => agency::routes(arguments.config()?),
        Kind::BareEdge => return bare::edge(arguments.listen, arguments.config()?).await,
        Kind::BareRouter => return bare::router(arguments.listen, arguments.config()?).await,
        Kind::FastEngine => return fast_engine::serve(arguments.listen, arguments.also).await,
        Kind::Engine => return engine::serve(arguments.listen, arguments.control).await,
    };
    serve(arguments.listen, routes).await
}
