//! The services of the platform as processes.

use std::{collections::BTreeMap, path::Path};

use super::{Layout, ProcessSpec, Ready, process::StopSignal};

/// Every service, in the order in which they are started. Each is a binary of the same name.
pub const SERVICES: [&str; 7] = [
    "privacy",
    "identity",
    "verification",
    "device-registry",
    "billing",
    "inference-routing",
    "edge",
];

/// How often a service sends its spans, in milliseconds: whoever wants to see a trace waits for it. As deployed it
/// is the 5 s of OpenTelemetry's SDK, which reads this variable.
pub(crate) const SPANS_EVERY: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "500");

/// A hard end comes after 25 s in the services themselves.
const STOP_TIMEOUT_MS: u64 = 30_000;

/// The services that own a database.
pub fn with_database() -> impl Iterator<Item = &'static str> {
    SERVICES.into_iter().filter(|service| *service != "edge")
}

/// What every process is given, and nothing else.
#[must_use]
pub fn environment(home: &Path) -> BTreeMap<String, String> {
    [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        ),
        ("LANG", "C.UTF-8".to_owned()),
        ("TZ", "UTC".to_owned()),
        ("HOME", home.display().to_string()),
        ("RUST_BACKTRACE", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A service that serves.
#[must_use]
pub fn spec(layout: &Layout, service: &str, admin: u16) -> ProcessSpec {
    let ready = Ready::Http {
        url: format!("http://127.0.0.1:{admin}/ready"),
    };
    let config = layout.config(service);
    let arguments = ["--config", &config.display().to_string(), "serve"].map(str::to_owned);
    let mut spec = ours(layout, service, service, &arguments, ready, vec![config]);
    let (name, value) = SPANS_EVERY;
    spec.env.insert(name.to_owned(), value.to_owned());
    spec
}

/// A simulator of a provider.
#[must_use]
pub fn simulator_spec(
    layout: &Layout,
    name: &str,
    kind: &str,
    port: u16,
    config: Option<&Path>,
) -> ProcessSpec {
    let address = format!("127.0.0.1:{port}");
    let ready = Ready::Http {
        url: format!("http://{address}/_truth"),
    };
    let mut arguments = vec![kind.to_owned(), "--listen".to_owned(), address];
    if let Some(config) = config {
        arguments.extend(["--config".to_owned(), config.display().to_string()]);
    }
    let inputs = config.map(Path::to_owned).into_iter().collect();
    ours(layout, name, "simulator", &arguments, ready, inputs)
}

/// The receiver of traces.
#[must_use]
pub fn traces_spec(layout: &Layout, otlp: u16, query: u16) -> ProcessSpec {
    let ready = Ready::Http {
        url: format!("http://127.0.0.1:{query}/healthz"),
    };
    let arguments = [
        "traces",
        "--otlp",
        &format!("127.0.0.1:{otlp}"),
        "--query",
        &format!("127.0.0.1:{query}"),
        "--folder",
        &layout.folder("traces").display().to_string(),
    ]
    .map(str::to_owned);
    ours(layout, "traces", "stack", &arguments, ready, Vec::new())
}

fn ours(
    layout: &Layout,
    name: &str,
    binary: &str,
    arguments: &[String],
    ready: Ready,
    inputs: Vec<std::path::PathBuf>,
) -> ProcessSpec {
    let mut argv = vec![layout.binary(binary).display().to_string()];
    argv.extend_from_slice(arguments);
    ProcessSpec {
        name: name.to_owned(),
        argv,
        env: environment(layout.dir()),
        cwd: layout.dir().to_owned(),
        log: layout.log(name),
        pid_file: layout.pid_file(name),
        ready,
        inputs,
        stop_signal: StopSignal::Term,
        stop_timeout_ms: STOP_TIMEOUT_MS,
        retry_start: false,
    }
}
