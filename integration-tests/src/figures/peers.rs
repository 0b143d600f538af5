//! What else stands between clients and engines: gateways of others, as they come, each with one worker.

mod left_out;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::{
    load::{Target, lean, on_processor},
    stack::{Ports, Process, ProcessSpec, Ready, StopSignal, create_private_folder, write_private},
};
use left_out::{LeftOut, WITHOUT};

/// A slow one imports a thousand modules first.
const PATIENCE: Duration = Duration::from_secs(90);
/// LiteLLM wants one that is long.
const KEY: &str = "sk-0123456789abcdef0123456789abcdef0123456789abcdef";

/// One of them, running.
pub(super) struct Peer {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// The process.
    pub process: Process,
    /// How it is called.
    pub target: Target,
}

/// What is common to all.
pub(super) struct Peers<'a> {
    /// Where they are installed.
    pub installed: &'a Path,
    /// Where they run.
    pub folder: &'a Path,
    /// `host:port` of each engine; gateways that know of one only get the first.
    pub engines: &'a [String],
    /// How routers choose among engines.
    pub policy: &'a str,
    /// What they are asked.
    pub body: &'a Bytes,
    /// The processor that they share with nobody who works at the same time.
    pub processor: usize,
}

/// How one is started.
struct How {
    name: &'static str,
    installed: &'static str,
    argv: Vec<String>,
    env: &'static [(&'static str, &'static str)],
    bearer: Option<&'static str>,
    headers: Vec<(&'static str, String)>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.process.kill9();
    }
}

impl Peers<'_> {
    /// Starts all; one that does not start is an error, unless the environment says that it is left out.
    pub(super) async fn start(&self) -> anyhow::Result<Vec<Peer>> {
        let mut ports = Ports::keeping(BTreeMap::new());
        create_private_folder(self.folder)?;
        let mut all = self.gateways(&mut ports)?;
        all.extend(self.routers(&mut ports));
        self.started(&all, &ports).await
    }

    /// Starts those that choose among engines.
    pub(super) async fn start_routers(&self) -> anyhow::Result<Vec<Peer>> {
        let mut ports = Ports::keeping(BTreeMap::new());
        create_private_folder(self.folder)?;
        let all = self.routers(&mut ports);
        self.started(&all, &ports).await
    }

    /// Starts those that pass a call on and do little else: nginx and the routers.
    pub(super) async fn start_passing(&self) -> anyhow::Result<Vec<Peer>> {
        let mut ports = Ports::keeping(BTreeMap::new());
        create_private_folder(self.folder)?;
        let mut all = vec![self.passing(&mut ports)?];
        all.extend(self.routers(&mut ports));
        self.started(&all, &ports).await
    }

    async fn started(&self, all: &[How], ports: &Ports) -> anyhow::Result<Vec<Peer>> {
        let left_out = LeftOut::from_environment()?;
        let mut started = Vec::new();
        for how in all {
            if left_out.names(how.name) {
                println!("  {}: left out, as {WITHOUT} says", how.name);
                continue;
            }
            let peer = self.one(how, ports).await;
            started.push(peer.with_context(|| {
                format!(
                    "{} does not start; to measure without it, name it in {WITHOUT}",
                    how.name
                )
            })?);
        }
        Ok(started)
    }

    async fn one(&self, how: &How, ports: &Ports) -> anyhow::Result<Peer> {
        let address = format!("127.0.0.1:{}", ports.all()[how.name]);
        let version = match how.name {
            "nginx" => "Debian's".to_owned(),
            _ => fs::read_to_string(self.installed.join(how.installed).join("version"))?,
        };
        let mut env = BTreeMap::from([
            ("HOME".to_owned(), self.folder.display().to_string()),
            ("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()),
        ]);
        let own = how.env.iter();
        env.extend(own.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let file = |end: &str| self.folder.join(format!("{}.{end}", how.name));
        let process = Process::new(ProcessSpec {
            name: how.name.to_owned(),
            argv: how.argv.clone(),
            env,
            cwd: self.folder.to_owned(),
            log: file("log"),
            pid_file: file("pid"),
            ready: Ready::Tcp {
                address: address.clone(),
            },
            inputs: Vec::new(),
            stop_signal: StopSignal::Term,
            stop_timeout_ms: 1000,
            retry_start: false,
        });
        if process.is_alive() {
            process.kill9();
        }
        on_processor(self.processor, || Ok(process.start()?))?;
        let url = format!("http://{address}/v1/chat/completions");
        let mut target = Target::new(&url, how.bearer, self.body.clone())?;
        target.headers = how.headers.clone();
        let peer = Peer {
            name: how.name,
            version: version.trim().to_owned(),
            process,
            target,
        };
        peer.process.wait_ready(PATIENCE).await?;
        // It listens before it knows its engine.
        let begin = Instant::now();
        while let Err(error) = lean(&peer.target, 1, Duration::ZERO, None).await {
            anyhow::ensure!(begin.elapsed() < PATIENCE, "{error:#}");
            sleep(Duration::from_millis(200)).await;
        }
        Ok(peer)
    }

    fn routers(&self, ports: &mut Ports) -> Vec<How> {
        let engines = self.engines.iter().map(|engine| format!("http://{engine}"));
        let engines: Vec<String> = engines.collect();
        let mut router = |name: &'static str, launch: &[&str], level: &str| {
            let mut port = |name: &str| ports.get(name).to_string();
            let listen = ["--host", "127.0.0.1", "--port", &port(name)].map(str::to_owned);
            let metrics = format!("{name}.metrics");
            let rest = [
                "--policy",
                self.policy,
                "--prometheus-port",
                &port(&metrics),
            ];
            let rest = rest.into_iter().chain(["--log-level", level]);
            let mut argv = vec![self.program(name, name)];
            argv.extend(launch.iter().map(|word| (*word).to_owned()));
            argv.extend(listen);
            argv.push("--worker-urls".to_owned());
            argv.extend(engines.clone());
            argv.extend(rest.map(str::to_owned));
            How {
                name,
                installed: name,
                argv,
                env: &[],
                bearer: None,
                headers: Vec::new(),
            }
        };
        vec![
            router("sglang-router", &["launch"], "warn"),
            router("vllm-router", &[], "warning"),
            router("smg", &["launch"], "warn"),
        ]
    }

    fn passing(&self, ports: &mut Ports) -> anyhow::Result<How> {
        Ok(How {
            name: "nginx",
            installed: "",
            argv: self.nginx(&self.engines[0], &ports.get("nginx").to_string())?,
            env: &[],
            bearer: None,
            headers: Vec::new(),
        })
    }

    fn gateways(&self, ports: &mut Ports) -> anyhow::Result<Vec<How>> {
        let engine = &self.engines[0];
        let url = format!("http://{engine}");
        let mut all = vec![self.passing(ports)?];
        let mut port = |name: &str| ports.get(name).to_string();
        let gateway = "gateway/node_modules/@portkey-ai/gateway/build/start-server.js";
        all.push(How {
            name: "portkey",
            installed: "gateway",
            argv: vec![
                "/usr/bin/env".to_owned(),
                "node".to_owned(),
                self.installed.join(gateway).display().to_string(),
                format!("--port={}", port("portkey")),
                "--headless".to_owned(),
            ],
            env: &[("NODE_ENV", "production")],
            bearer: Some("none"),
            headers: vec![
                ("x-portkey-provider", "openai".to_owned()),
                ("x-portkey-custom-host", format!("{url}/v1")),
            ],
        });
        all.push(How {
            name: "litellm",
            installed: "litellm",
            argv: [
                self.program("litellm", "litellm").as_str(),
                "--host",
                "127.0.0.1",
                "--port",
                &port("litellm"),
                "--num_workers",
                "1",
                "--config",
                &self.litellm(&url)?.display().to_string(),
            ]
            .map(str::to_owned)
            .to_vec(),
            env: &[("LITELLM_LOCAL_MODEL_COST_MAP", "True")],
            bearer: Some(KEY),
            headers: Vec::new(),
        });
        Ok(all)
    }

    fn program(&self, folder: &str, name: &str) -> String {
        let program = self.installed.join(folder).join("bin").join(name);
        program.display().to_string()
    }

    fn nginx(&self, engine: &str, port: &str) -> anyhow::Result<Vec<String>> {
        let folder = self.folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|what| format!("  {what}_temp_path {folder}/nginx-{what};\n"))
            .collect();
        let text = format!(
            "worker_processes 1;\ndaemon off;\npid {folder}/nginx-own.pid;\nevents {{ worker_connections 4096; }}\n\
             http {{\n  access_log off;\n{temporary}  keepalive_requests 1000000000;\n\
             \x20 upstream engine {{ server {engine}; keepalive 512; keepalive_requests 1000000000; }}\n\
             \x20 server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://engine; proxy_buffering off; \
             proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}\n}}\n"
        );
        let file = self.folder.join("nginx.conf");
        write_private(&file, text.as_bytes())?;
        let log = self.folder.join("nginx-errors.log");
        let words = [
            "/usr/sbin/nginx",
            "-e",
            &log.display().to_string(),
            "-c",
            &file.display().to_string(),
        ];
        Ok(words.map(str::to_owned).to_vec())
    }

    fn litellm(&self, engine: &str) -> anyhow::Result<PathBuf> {
        let text = format!(
            "model_list:\n  - model_name: scripted\n    litellm_params: {{model: openai/scripted, \
             api_base: \"{engine}/v1\", api_key: none}}\nlitellm_settings: {{telemetry: false}}\n\
             general_settings: {{master_key: {KEY}}}\n"
        );
        let file = self.folder.join("litellm.yaml");
        write_private(&file, text.as_bytes())?;
        Ok(file)
    }
}
