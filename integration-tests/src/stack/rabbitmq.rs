//! A private RabbitMQ node: its own name, ports, data and port mapper, loopback only.

use std::{collections::BTreeMap, io, path::Path};

use super::{Layout, ProcessSpec, Ready, files, process::StopSignal, services::environment};

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// The ports of a node.
#[derive(Clone, Copy, Debug)]
pub struct NodePorts {
    /// AMQP.
    pub amqp: u16,
    /// Between nodes and to `rabbitmqctl`.
    pub distribution: u16,
    /// The Erlang port mapper.
    pub mapper: u16,
}

/// User and password that the node lets in.
#[derive(Clone, Copy, Debug)]
pub struct NodeUser<'a> {
    /// The name.
    pub name: &'a str,
    /// The password.
    pub password: &'a str,
}

/// Writes what the node reads at its start.
pub fn configure(layout: &Layout, ports: NodePorts, user: NodeUser<'_>) -> io::Result<()> {
    if !Path::new(SERVER).exists() {
        return Err(io::Error::other(
            "RabbitMQ is not installed (apt-get install rabbitmq-server)",
        ));
    }
    let folder = layout.folder("rabbitmq");
    files::create_private_folder(&folder)?;
    let NodeUser { name, password } = user;
    let amqp = ports.amqp;
    let configuration = format!(
        "# Written by `stack up`.
listeners.tcp.1 = 127.0.0.1:{amqp}
default_user = {name}
default_pass = {password}
default_permissions.configure = .*
default_permissions.read = .*
default_permissions.write = .*
log.console = true
log.console.level = warning
log.file = false
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 200MB
"
    );
    files::write_private(&folder.join("rabbitmq.conf"), configuration.as_bytes())?;
    files::write_private(&folder.join("enabled_plugins"), b"[].\n")?;
    files::write_private(&folder.join("rabbitmq-env.conf"), b"")?;
    Ok(())
}

/// What the node and `rabbitmqctl` must both be given.
#[must_use]
pub fn node_environment(layout: &Layout, ports: NodePorts, node: &str) -> BTreeMap<String, String> {
    let folder = layout.folder("rabbitmq");
    let path = |name: &str| folder.join(name).display().to_string();
    let mut environment = environment(&folder);
    environment.extend(
        [
            ("HOME", folder.display().to_string()),
            ("RABBITMQ_NODENAME", node.to_owned()),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq")),
            ("RABBITMQ_CONF_ENV_FILE", path("rabbitmq-env.conf")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
            ("RABBITMQ_MNESIA_BASE", path("data")),
            ("RABBITMQ_LOG_BASE", path("log")),
            ("RABBITMQ_PID_FILE", path("pid")),
            ("RABBITMQ_NODE_PORT", ports.amqp.to_string()),
            ("RABBITMQ_DIST_PORT", ports.distribution.to_string()),
            ("ERL_EPMD_PORT", ports.mapper.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("ERL_MAX_PORTS", "4096".to_owned()),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}".to_owned(),
            ),
            // The script then becomes the server instead of standing before it.
            ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    environment
}

/// The port mapper, a process of ours so that no other node shares it.
#[must_use]
pub fn mapper_spec(layout: &Layout, ports: NodePorts) -> ProcessSpec {
    let port = ports.mapper.to_string();
    let folder = layout.folder("rabbitmq");
    ProcessSpec {
        name: "epmd".to_owned(),
        argv: ["epmd", "-port", &port, "-address", "127.0.0.1"]
            .map(str::to_owned)
            .to_vec(),
        env: environment(&folder),
        log: layout.log("epmd"),
        pid_file: layout.pid_file("epmd"),
        ready: Ready::Tcp {
            address: format!("127.0.0.1:{port}"),
        },
        inputs: Vec::new(),
        cwd: folder,
        stop_signal: StopSignal::Term,
        stop_timeout_ms: 2_000,
        retry_start: false,
    }
}

/// The node.
#[must_use]
pub fn spec(layout: &Layout, ports: NodePorts, node: &str) -> ProcessSpec {
    let folder = layout.folder("rabbitmq");
    ProcessSpec {
        name: "rabbitmq".to_owned(),
        argv: vec![SERVER.to_owned()],
        env: node_environment(layout, ports, node),
        log: layout.log("rabbitmq"),
        pid_file: layout.pid_file("rabbitmq"),
        ready: Ready::Amqp {
            address: format!("127.0.0.1:{}", ports.amqp),
        },
        inputs: vec![folder.join("rabbitmq.conf")],
        cwd: folder,
        stop_signal: StopSignal::Term,
        stop_timeout_ms: 30_000,
        retry_start: true,
    }
}
