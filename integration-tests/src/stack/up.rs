use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail};

use super::{
    Broker, Database, Description, Layout, Model, Process, ProcessSpec, Progress, SERVICES,
    ServiceAddresses, Stack, Traces, certificates, configuration, database, description,
    engine::{self, Embedding, Engine},
    files,
    ports::Ports,
    postgres,
    process::as_owner,
    providers, rabbitmq,
    rabbitmq::{NodePorts, NodeUser},
    secrets,
    services::{self, environment, with_database},
};

/// The region that a stack on one machine says it is in.
const REGION: &str = "cn-north-1";
/// How long a store, and how long a service may take to become ready.
const READY: Duration = Duration::from_secs(90);
/// How long a model may take to load.
const MODEL_READY: Duration = Duration::from_secs(180);

/// What is wanted of a stack.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its folder.
    pub dir: PathBuf,
    /// Where our binaries are.
    pub binaries: PathBuf,
    /// The repository, or a copy of its data that the user of the stack can read.
    pub source: PathBuf,
    /// Where answers come from; none: only from the scripted engine.
    pub engine: Option<Engine>,
    /// Where embeddings come from; none: only from the scripted engine.
    pub embedding: Option<Embedding>,
    /// Whether the scripted engine runs too.
    pub scripted_engine: bool,
}

/// Makes what is missing, starts what does not run or has changed, and waits until all is ready.
///
/// # Errors
/// When something cannot be made or started; what runs already goes on running.
pub async fn up(plan: &Plan, progress: &Progress) -> anyhow::Result<Stack> {
    let layout = Layout::new(plan.dir.clone(), plan.binaries.clone());
    files::create_private_folder(layout.dir())?;
    let before = Stack::load(&layout.description()).ok();
    let mut ports = Ports::keeping(
        before
            .as_ref()
            .map(|stack| stack.description().ports.clone())
            .unwrap_or_default(),
    );
    release_ports(&layout, before.as_ref(), &mut ports);

    let description = describe(plan, &layout, &mut ports).await?;
    certificates::ensure(&layout, &SERVICES)?;
    for service in SERVICES {
        secrets::ensure_keys(&layout.keys(service))?;
    }
    let provisioned = providers::provision(&layout, &description)?;
    configuration::write(&layout, &plan.source, &description, &provisioned)?;
    description.save(&layout.description())?;
    let stack = Stack::from(description);
    end_strangers(before.as_ref(), &stack, progress)?;

    start_stores(&stack, progress).await?;
    let database = &stack.description().database;
    database::ensure(&database.superuser_url, &passwords(&layout)?).await?;
    start_surroundings(&stack)?;
    start_services(&layout, &stack, progress).await?;
    wait_all(&stack, progress).await?;
    Ok(stack)
}

/// A port that somebody else took while its process was down is given up.
fn release_ports(layout: &Layout, before: Option<&Stack>, ports: &mut Ports) {
    let names: Vec<String> = ports.all().keys().cloned().collect();
    for name in names {
        let process = name.split('.').next().unwrap_or_default();
        let alive = before.is_some_and(|stack| {
            stack
                .processes()
                .any(|other| other.spec().name == process && other.is_alive())
        });
        if !alive && layout.description().exists() {
            ports.release_taken(&name);
        }
    }
}

/// Processes that the stack had before and has no more (another model, no scripted engine).
fn end_strangers(before: Option<&Stack>, now: &Stack, progress: &Progress) -> anyhow::Result<()> {
    let Some(before) = before else { return Ok(()) };
    for process in before.processes() {
        let name = &process.spec().name;
        if process.is_alive() && !now.processes().any(|other| other.spec().name == *name) {
            process.terminate()?;
            progress.say(&format!("{name} ended: it is not wanted now"));
        }
    }
    Ok(())
}

async fn describe(plan: &Plan, layout: &Layout, ports: &mut Ports) -> anyhow::Result<Description> {
    let database = database_addresses(layout, ports)?;
    let (broker, node_ports) = broker(layout, ports)?;
    let traces = Traces {
        otlp: loopback("http", ports.get("traces.otlp")),
        query: loopback("http", ports.get("traces.query")),
        folder: layout.folder("traces"),
    };
    let mut processes = vec![
        postgres::spec(layout, &database.superuser_url)?,
        rabbitmq::mapper_spec(layout, node_ports),
        rabbitmq::spec(layout, node_ports, &broker.node),
        services::traces_spec(layout, ports.get("traces.otlp"), ports.get("traces.query")),
    ];
    let mut simulators = BTreeMap::new();
    for kind in providers::PROVIDERS {
        let port = ports.get(kind);
        simulators.insert(kind.to_owned(), loopback("http", port));
        let config = providers::config_file(layout, kind);
        processes.push(services::simulator_spec(
            layout,
            kind,
            kind,
            port,
            Some(&config),
        ));
    }
    let mut models = Vec::new();
    if let Some(chosen) = &plan.engine {
        let (model, process) = real_model(layout, chosen, ports).await?;
        models.push(model);
        processes.extend(process);
    }
    if let Some(chosen) = &plan.embedding {
        let (model, process) = embedding_model(layout, chosen, ports)?;
        models.push(model);
        processes.extend(process);
    }
    if plan.scripted_engine {
        let port = ports.get("engine");
        simulators.insert("engine".to_owned(), loopback("http", port));
        processes.push(services::simulator_spec(
            layout, "engine", "engine", port, None,
        ));
        models.push(engine::scripted(port));
    }
    let mut addresses = BTreeMap::new();
    for service in SERVICES {
        let (grpc, admin) = (
            ports.get(&format!("{service}.grpc")),
            ports.get(&format!("{service}.admin")),
        );
        let (certificate, key) = layout.certificate(service);
        let scheme = if service == "edge" { "http" } else { "https" };
        addresses.insert(
            service.to_owned(),
            ServiceAddresses {
                grpc: loopback(scheme, grpc),
                admin: loopback("http", admin),
                config: layout.config(service),
                certificate,
                key,
            },
        );
        processes.push(services::spec(layout, service, admin));
    }
    Ok(Description {
        format: description::FORMAT,
        dir: layout.dir().to_owned(),
        binaries: plan.binaries.clone(),
        region: REGION.to_owned(),
        edge: addresses["edge"].grpc.clone(),
        ca_file: layout.authority(),
        database,
        broker,
        services: addresses,
        simulators,
        traces,
        models,
        ports: ports.all().clone(),
        processes,
    })
}

async fn real_model(
    layout: &Layout,
    chosen: &Engine,
    ports: &mut Ports,
) -> anyhow::Result<(Model, Option<ProcessSpec>)> {
    match chosen {
        Engine::Local { python, file, name } => {
            let port = ports.get("model");
            let process = engine::spec(layout, port, python, file, name)?;
            Ok((engine::local(name, file, port), Some(process)))
        }
        Engine::Remote { url } => Ok((engine::remote(url).await?, None)),
    }
}

fn embedding_model(
    layout: &Layout,
    chosen: &Embedding,
    ports: &mut Ports,
) -> anyhow::Result<(Model, Option<ProcessSpec>)> {
    match chosen {
        Embedding::Local {
            python,
            library,
            file,
        } => {
            let port = ports.get("embedding");
            let process = engine::embedding_spec(layout, port, python, library, file)?;
            Ok((engine::embedding(&loopback("http", port)), Some(process)))
        }
        Embedding::Remote { url } => Ok((engine::embedding(url), None)),
    }
}

fn database_addresses(layout: &Layout, ports: &mut Ports) -> anyhow::Result<Database> {
    let port = ports.get("postgres");
    let superuser = secrets::ensure_secret(&layout.folder("secrets").join("postgres"))?;
    postgres::ensure_cluster(layout, port, &superuser).context("cannot make the database")?;
    let urls = passwords(layout)?.into_iter().map(|(service, password)| {
        let url = format!("postgres://{service}:{password}@127.0.0.1:{port}/{service}");
        (service, url)
    });
    Ok(Database {
        superuser_url: format!("postgres://postgres:{superuser}@127.0.0.1:{port}/postgres"),
        urls: urls.collect(),
    })
}

fn passwords(layout: &Layout) -> std::io::Result<BTreeMap<String, String>> {
    with_database()
        .map(|service| {
            let file = layout.folder("secrets").join(format!("postgres-{service}"));
            Ok((service.to_owned(), secrets::ensure_secret(&file)?))
        })
        .collect()
}

fn broker(layout: &Layout, ports: &mut Ports) -> anyhow::Result<(Broker, NodePorts)> {
    let node_ports = NodePorts {
        amqp: ports.get("rabbitmq.amqp"),
        distribution: ports.get("rabbitmq.distribution"),
        mapper: ports.get("epmd"),
    };
    let password = secrets::ensure_secret(&layout.folder("secrets").join("rabbitmq"))?;
    let user = NodeUser {
        name: "wanwu",
        password: &password,
    };
    rabbitmq::configure(layout, node_ports, user).context("cannot make the broker")?;
    // The data lies under the node's name: it is chosen once.
    let name = layout.folder("secrets").join("rabbitmq-node");
    let node = format!("wanwu-{}@localhost", &secrets::ensure_secret(&name)?[..8]);
    let env = rabbitmq::node_environment(layout, node_ports, &node);
    let url = format!("amqp://wanwu:{password}@127.0.0.1:{}/%2f", node_ports.amqp);
    let ctl = PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmqctl");
    Ok((
        Broker {
            url,
            node,
            ctl,
            env,
        },
        node_ports,
    ))
}

fn loopback(scheme: &str, port: u16) -> String {
    format!("{scheme}://127.0.0.1:{port}")
}

async fn start_stores(stack: &Stack, progress: &Progress) -> anyhow::Result<()> {
    let (postgres, mapper, broker) = (
        stack.process("postgres"),
        stack.process("epmd"),
        stack.process("rabbitmq"),
    );
    if !mapper.is_alive() && broker.is_alive() {
        // A node is known to the mapper that it met at its start only.
        broker.terminate()?;
    }
    for process in [&postgres, &mapper, &broker] {
        bring_to_date(process)?;
        if process.spec().name == "epmd" {
            process.wait_ready(READY).await?;
        }
    }
    progress
        .step("PostgreSQL", postgres.wait_ready(READY))
        .await?;
    progress.step("RabbitMQ", broker.wait_ready(READY)).await?;
    Ok(())
}

/// Everything that is neither a store nor a service.
fn start_surroundings(stack: &Stack) -> anyhow::Result<()> {
    for process in stack.processes() {
        let name = process.spec().name.as_str();
        if !SERVICES.contains(&name) && !matches!(name, "postgres" | "epmd" | "rabbitmq") {
            bring_to_date(&process)?;
        }
    }
    Ok(())
}

async fn start_services(layout: &Layout, stack: &Stack, progress: &Progress) -> anyhow::Result<()> {
    for service in SERVICES {
        let process = stack.process(service);
        if process.is_alive() && process.is_current() {
            continue;
        }
        if with_database().any(|name| name == service) {
            let migration = migrate(layout, service);
            progress
                .step(&format!("{service}: migrated"), migration)
                .await?;
        }
        bring_to_date(&process)?;
    }
    Ok(())
}

async fn migrate(layout: &Layout, service: &str) -> anyhow::Result<()> {
    let mut command = Command::new(layout.binary(service));
    command
        .arg("--config")
        .arg(layout.config(service))
        .arg("migrate")
        .env_clear()
        .envs(environment(layout.dir()))
        .current_dir(layout.dir());
    as_owner(&mut command, layout.dir())?;
    let output = tokio::process::Command::from(command).output().await;
    let output = output.with_context(|| format!("cannot run {service} migrate"))?;
    if !output.status.success() {
        bail!(
            "{service} migrate ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Starts it, or starts it again when its program or what it reads has changed.
fn bring_to_date(process: &Process) -> anyhow::Result<()> {
    if process.is_alive() && !process.is_current() {
        process.terminate()?;
    }
    process.start().map_err(Into::into)
}

async fn wait_all(stack: &Stack, progress: &Progress) -> anyhow::Result<()> {
    for process in stack.processes() {
        let name = process.spec().name.clone();
        if matches!(name.as_str(), "postgres" | "epmd" | "rabbitmq") {
            continue;
        }
        let limit = if name == "model" { MODEL_READY } else { READY };
        progress
            .step(&format!("{name}: ready"), process.wait_ready(limit))
            .await?;
    }
    Ok(())
}

/// A folder that can be named in configuration.
#[must_use]
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
