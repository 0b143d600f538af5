use serde_json::Value;

use super::{super::customers::truth_of, end_left_over, http};
use crate::{
    simulators::engine::Illness,
    stack::{Layout, Ports, Process, Ready, simulator_spec},
};

/// A scripted engine that can be made ill.
pub(crate) struct ScriptedEngine {
    /// Its address.
    pub url: String,
    /// The process.
    pub process: Process,
    control: String,
    http: reqwest::Client,
}

/// What an engine counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// Calls that came.
    pub calls: u64,
    /// The most calls that ran at once since it was asked last.
    pub most_at_once: u64,
    /// Connections that it closed as soon as it had taken them.
    pub refused_connections: u64,
    /// Connections on which a call came that nobody read, or may have come: those that were open when it was
    /// blackholed among them.
    pub swallowed_calls: u64,
    /// Blocks of all prompts that were in its cache, and all.
    pub blocks: [u64; 2],
}

impl ScriptedEngine {
    pub(super) fn start(layout: &Layout, ports: &mut Ports, n: usize) -> anyhow::Result<Self> {
        let name = format!("engine-{n}");
        let (port, control) = (ports.get(&name), ports.get(&format!("{name}.control")));
        let control = format!("127.0.0.1:{control}");
        let mut spec = simulator_spec(layout, &name, "engine", port, None);
        spec.argv.extend(["--control".to_owned(), control.clone()]);
        spec.ready = Ready::Http {
            url: format!("http://{control}/_truth?brief=true"),
        };
        crate::stack::create_private_folder(&spec.cwd)?;
        let process = Process::new(spec);
        end_left_over(&process);
        process.start()?;
        Ok(Self {
            url: format!("http://127.0.0.1:{port}"),
            process,
            control: format!("http://{control}"),
            http: http(),
        })
    }

    /// Makes it ill, or well again.
    pub(crate) async fn set(&self, illness: Illness) -> anyhow::Result<()> {
        let request = self.http.put(format!("{}/_illness", self.control));
        request.json(&illness).send().await?.error_for_status()?;
        Ok(())
    }

    /// Forgets all prompts, and keeps so many blocks from now on.
    pub(crate) async fn keep(&self, blocks: usize) -> anyhow::Result<()> {
        let request = self.http.put(format!("{}/_prefixes", self.control));
        let body = serde_json::json!({"blocks": blocks});
        request.json(&body).send().await?.error_for_status()?;
        Ok(())
    }

    /// Runs so many calls at the same time at most from now on, and refuses more.
    pub(crate) async fn make_room(&self, calls: u32) -> anyhow::Result<()> {
        let request = self.http.put(format!("{}/_room", self.control));
        let body = serde_json::json!({"calls": calls});
        request.json(&body).send().await?.error_for_status()?;
        Ok(())
    }

    /// What it wrote down of every call, by the call's id.
    pub(crate) async fn truth(&self) -> anyhow::Result<serde_json::Map<String, Value>> {
        let truth = truth_of(&self.http, &self.control, "").await?;
        Ok(truth["calls"].as_object().cloned().unwrap_or_default())
    }

    /// What it counted until now.
    pub(crate) async fn counted(&self) -> anyhow::Result<Counted> {
        let truth = truth_of(&self.http, &self.control, "?brief=true").await?;
        let count = |name: &str| truth["engine"][name].as_u64().unwrap_or_default();
        Ok(Counted {
            calls: count("came"),
            most_at_once: count("most_at_once"),
            refused_connections: count("refused_connections"),
            swallowed_calls: count("swallowed_calls"),
            blocks: [count("blocks_found"), count("blocks")],
        })
    }
}
