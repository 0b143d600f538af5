//! Engines, routers and an edge that a figure starts beside the stack, as many as it wants, with limits
//! of its own. Identity, billing, the database and the broker are the stack's. All end with the figure.

mod clients;
mod engine;
mod metrics;
mod open_loop;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use serde_json::json;
use toml::{Table, Value};

pub(super) use clients::{Counts, Load, Seen};
pub(super) use engine::ScriptedEngine;
pub(super) use open_loop::{Shot, send_at, send_each};

use crate::load::on_processor;
use crate::stack::{Layout, Ports, Process, ProcessSpec, Ready, SPANS_EVERY, Stack, write_private};

/// How long one of its processes may take to be ready.
const READY: Duration = Duration::from_secs(30);
/// What is called by its own name only here: a price of it is in the list.
const MODEL: &str = "scripted";

/// What a figure wants.
pub(super) struct Wanted {
    /// The figure, which names the folder.
    pub figure: &'static str,
    /// Engines of the scripted model.
    pub engines: usize,
    /// Replicas of inference-routing.
    pub routers: usize,
    /// How they choose among engines; `None`: by default.
    pub policy: Option<&'static str>,
    /// Keys of inference-routing's `[engines]`, in place of the defaults.
    pub limits: Table,
}

/// What a figure of speed has otherwise.
pub(super) struct Alone<'a> {
    /// The programs that it measures.
    pub binaries: &'a Path,
    /// The engines, `http://host:port`, which the figure started.
    pub engines: &'a [String],
    /// The processor that edge and routers share.
    pub processor: usize,
    /// The share of calls of which a trace is recorded.
    pub recorded: f64,
}

/// The share of traces that release programs record, as the charts' values have it; the stack records all.
pub(super) const AS_DEPLOYED: f64 = 0.1;

/// The way of a call from an edge over routers to engines.
pub(super) struct ModelPath {
    /// The engines.
    pub engines: Vec<ScriptedEngine>,
    /// The routers.
    pub routers: Vec<Replica>,
    edge: Replica,
}

/// A process of a service.
pub(super) struct Replica {
    /// The process.
    pub process: Process,
    /// Its public address, `host:port`.
    pub address: String,
    admin: String,
}

impl ModelPath {
    /// Starts all and waits until all are ready.
    pub(super) async fn start(stack: &Stack, wanted: Wanted) -> anyhow::Result<Self> {
        Self::start_with(stack, wanted, &Table::new()).await
    }

    /// As [`start`](Self::start), with these keys of the routers' sections in place of the stack's.
    pub(super) async fn start_with(
        stack: &Stack,
        wanted: Wanted,
        sections: &Table,
    ) -> anyhow::Result<Self> {
        let binaries = &stack.description().binaries;
        let path = Self::spawn(stack, wanted, sections, None, binaries, None)?;
        path.ready().await?;
        Ok(path)
    }

    /// As [`start_with`](Self::start_with), with the release programs of a folder: what is put beside others.
    pub(super) async fn start_released(
        stack: &Stack,
        wanted: Wanted,
        sections: &Table,
        binaries: &Path,
    ) -> anyhow::Result<Self> {
        let recorded = Some(AS_DEPLOYED);
        let path = Self::spawn(stack, wanted, sections, None, binaries, recorded)?;
        path.ready().await?;
        Ok(path)
    }

    /// Starts one router and an edge that have a processor to themselves, and waits until both are
    /// ready.
    pub(super) async fn start_alone(
        stack: &Stack,
        figure: &'static str,
        alone: Alone<'_>,
    ) -> anyhow::Result<Self> {
        let wanted = Wanted {
            figure,
            engines: 0,
            routers: 1,
            policy: None,
            limits: Table::new(),
        };
        // What is started has the processors of the thread that starts it, from its first moment on.
        let path = on_processor(alone.processor, || {
            let (engines, recorded) = (Some(alone.engines), Some(alone.recorded));
            let sections = Table::new();
            Self::spawn(stack, wanted, &sections, engines, alone.binaries, recorded)
        })?;
        path.ready().await?;
        Ok(path)
    }

    fn spawn(
        stack: &Stack,
        wanted: Wanted,
        sections: &Table,
        others: Option<&[String]>,
        binaries: &Path,
        recorded: Option<f64>,
    ) -> anyhow::Result<Self> {
        let is_released = recorded.is_some();
        let folder = stack.description().dir.join("figures").join(wanted.figure);
        let layout = Layout::new(folder, binaries.to_owned());
        let mut ports = Ports::keeping(BTreeMap::new());
        let mut engines = Vec::new();
        for n in 0..wanted.engines {
            engines.push(ScriptedEngine::start(&layout, &mut ports, n)?);
        }
        let urls: Vec<&str> = match others {
            Some(others) => others.iter().map(String::as_str).collect(),
            None => engines.iter().map(|engine| engine.url.as_str()).collect(),
        };
        let mut routers = Vec::new();
        for n in 0..wanted.routers {
            let mut config = config_of(stack, "inference-routing")?;
            set_engines(&mut config, &urls, wanted.policy)?;
            config.insert("engines".to_owned(), wanted.limits.clone().into());
            for (section, keys) in sections {
                let keys = keys.as_table().context("a section is a table")?;
                table(&mut config, section).extend(keys.clone());
            }
            // Several share one database.
            table(&mut config, "database").insert("max_connections".to_owned(), 5.into());
            record(&mut config, recorded);
            let name = format!("router-{n}");
            routers.push(replica(
                stack,
                &layout,
                &mut ports,
                "inference-routing",
                &name,
                config,
                is_released,
            )?);
        }
        let mut config = config_of(stack, "edge")?;
        let places = routers
            .iter()
            .map(|router| format!("https://{}", router.address));
        let places = places.collect::<Vec<_>>().join(",");
        table(&mut config, "peers").insert("inference-routing".to_owned(), places.into());
        record(&mut config, recorded);
        let edge = replica(
            stack,
            &layout,
            &mut ports,
            "edge",
            "edge",
            config,
            is_released,
        )?;
        Ok(Self {
            engines,
            routers,
            edge,
        })
    }

    async fn ready(&self) -> anyhow::Result<()> {
        for engine in &self.engines {
            engine.process.wait_ready(READY).await?;
        }
        for replica in self.routers.iter().chain([&self.edge]) {
            replica.process.wait_ready(READY).await?;
        }
        Ok(())
    }

    /// Where clients call: `http://host:port`.
    pub(super) fn base(&self) -> String {
        format!("http://{}", self.edge.address)
    }

    /// The edge.
    pub(super) const fn edge(&self) -> &Replica {
        &self.edge
    }
}

impl Drop for ModelPath {
    fn drop(&mut self) {
        for engine in &self.engines {
            engine.process.kill9();
        }
        for replica in self.routers.iter().chain([&self.edge]) {
            if replica.process.terminate().is_err() {
                replica.process.kill9();
            }
        }
    }
}

/// A client of the figure's own, for what is no load.
fn http() -> reqwest::Client {
    // reqwest is built without a provider; whoever comes first installs ours.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()
        .expect("a plain client can be built")
}

fn config_of(stack: &Stack, service: &str) -> anyhow::Result<Table> {
    let path = &stack.service(service).config;
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.parse()?)
}

fn record(config: &mut Table, recorded: Option<f64>) {
    if let Some(recorded) = recorded {
        table(config, "telemetry").insert("sample_ratio".to_owned(), recorded.into());
    }
}

fn table<'a>(config: &'a mut Table, section: &str) -> &'a mut Table {
    let section = config
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()));
    section.as_table_mut().expect("sections are tables")
}

fn set_engines(config: &mut Table, engines: &[&str], policy: Option<&str>) -> anyhow::Result<()> {
    let models = config.get_mut("models").and_then(Value::as_array_mut);
    let models = models.context("the stack has no models")?;
    models.retain(|model| model["name"].as_str() == Some(MODEL));
    let model = models
        .first_mut()
        .context("the stack runs no scripted engine")?;
    let urls: Vec<_> = engines.iter().map(|url| json!({"url": url})).collect();
    let model = model.as_table_mut().context("a model is a table")?;
    model.insert("engines".to_owned(), Value::try_from(urls)?);
    if let Some(policy) = policy {
        model.insert("policy".to_owned(), policy.into());
    }
    Ok(())
}

fn replica(
    stack: &Stack,
    layout: &Layout,
    ports: &mut Ports,
    service: &str,
    name: &str,
    mut config: Table,
    is_released: bool,
) -> anyhow::Result<Replica> {
    let mut place = |what: &str| format!("127.0.0.1:{}", ports.get(&format!("{name}.{what}")));
    let (address, admin) = (place("grpc"), place("admin"));
    table(&mut config, "grpc").insert("listen".to_owned(), address.clone().into());
    table(&mut config, "admin").insert("listen".to_owned(), admin.clone().into());
    let file: PathBuf = layout.config(name);
    write_private(&file, toml::to_string(&config)?.as_bytes())?;
    let own = stack.process(service);
    let config = file.display().to_string();
    let mut env = own.spec().env.clone();
    if is_released {
        // As deployed.
        env.remove(SPANS_EVERY.0);
    }
    let process = Process::new(ProcessSpec {
        name: name.to_owned(),
        env,
        argv: vec![
            layout.binary(service).display().to_string(),
            "--config".to_owned(),
            config,
            "serve".to_owned(),
        ],
        log: layout.log(name),
        pid_file: layout.pid_file(name),
        ready: Ready::Http {
            url: format!("http://{admin}/ready"),
        },
        inputs: vec![file],
        stop_timeout_ms: 10_000,
        ..own.spec().clone()
    });
    end_left_over(&process);
    process.start()?;
    Ok(Replica {
        process,
        address,
        admin: format!("http://{admin}"),
    })
}

/// What a figure left that was killed.
fn end_left_over(process: &Process) {
    if process.is_alive() {
        process.kill9();
    }
}
