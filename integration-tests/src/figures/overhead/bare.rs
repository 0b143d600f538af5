//! The two hops without the work, as two processes.

use std::{collections::BTreeMap, path::Path, time::Duration};

use bytes::Bytes;
use serde_json::json;

use crate::{
    load::{Target, on_processor},
    stack::{Layout, Ports, Process, Ready, Stack, simulator_spec, write_private},
};

const READY: Duration = Duration::from_secs(10);

/// Both, running.
pub(super) struct Bare {
    /// How the first is called.
    pub target: Target,
    hops: [Process; 2],
}

impl Bare {
    /// Starts them on a processor.
    pub(super) async fn start(
        stack: &Stack,
        binaries: &Path,
        folder: &Path,
        engine: &str,
        body: &Bytes,
        processor: usize,
    ) -> anyhow::Result<Self> {
        let mut ports = Ports::keeping(BTreeMap::new());
        let layout = Layout::new(folder.to_owned(), binaries.to_owned());
        let mut hop = |name: &str, identity: &str, next: &str| {
            let service = stack.service(identity);
            let config = toml::Table::try_from(json!({"next": next, "tls": {
                "ca_file": stack.description().ca_file,
                "cert_file": service.certificate,
                "key_file": service.key,
            }}))?;
            let file = layout.config(name);
            write_private(&file, toml::to_string(&config)?.as_bytes())?;
            let port = ports.get(name);
            let mut spec = simulator_spec(&layout, name, name, port, Some(&file));
            let address = format!("127.0.0.1:{port}");
            spec.ready = Ready::Tcp {
                address: address.clone(),
            };
            let process = Process::new(spec);
            if process.is_alive() {
                process.kill9();
            }
            on_processor(processor, || Ok(process.start()?))?;
            anyhow::Ok((process, address))
        };
        let (router, place) = hop("bare-router", "inference-routing", engine)?;
        let (edge, address) = hop("bare-edge", "edge", &place)?;
        let url = format!("http://{address}/v1/chat/completions");
        let bare = Self {
            target: Target::new(&url, None, body.clone())?,
            hops: [edge, router],
        };
        for hop in &bare.hops {
            hop.wait_ready(READY).await?;
        }
        Ok(bare)
    }

    /// Which processes they are.
    pub(super) fn processes(&self) -> Vec<i32> {
        self.hops.iter().filter_map(Process::pid).collect()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        for hop in &self.hops {
            hop.kill9();
        }
    }
}
