//! Those that are compared: edge and inference-routing with and without their work, and gateways of others,
//! all on one processor, one engine and the load on the other.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use serde_json::json;

use super::{
    super::{
        model_path::{Alone, ModelPath},
        peers::{Peer, Peers},
        rig::{self, MEASURED, OTHERS, Others},
    },
    bare::Bare,
    side_by_side::Shown,
};
use crate::{
    journey::Journey,
    load::{CpuMeter, Target, family, lean, on_processor, resident_kib},
    stack::{Layout, Ports, Process, Ready, Stack, create_private_folder, simulator_spec},
};

/// Rounds of each with so many connections.
pub(super) const ROUNDS: usize = 5;
/// Each round of each.
const LONG: Duration = Duration::from_millis(1500);

/// One that is measured.
pub(super) struct Contender {
    pub name: String,
    pub target: Target,
    /// The first process of each family; empty: the engine itself, which nobody stands before.
    pub processes: Vec<i32>,
}

/// All that stands, as long as it is measured.
pub(super) struct Rig {
    pub contenders: Vec<Contender>,
    _engine: Engine,
    peers: Vec<Peer>,
    _bare: Bare,
    _path: ModelPath,
    _others: Others,
}

/// One thread at two addresses: who chooses among engines has a choice, and nobody has more of an engine.
struct Engine {
    process: Process,
    /// `host:port`.
    addresses: [String; 2],
}

impl Rig {
    pub async fn start(stack: &Stack) -> anyhow::Result<Self> {
        let (binaries, installed) = (rig::release()?, rig::peers()?);
        let others = Others::of(stack)?;
        let journey = Journey::ready_to_call(stack, 1_000_000).await?;
        let folder = stack.description().dir.join("figures/overhead");
        create_private_folder(&folder)?;
        let mut ports = Ports::keeping(Default::default());
        let engine = Engine::start(&binaries, &folder, &mut ports).await?;
        let address = &engine.addresses[0];
        let engines = engine
            .addresses
            .each_ref()
            .map(|address| format!("http://{address}"));
        let alone = Alone {
            binaries: &binaries,
            engines: &engines,
            processor: MEASURED,
        };
        let path = ModelPath::start_alone(stack, "overhead", alone).await?;
        let ours: Vec<i32> = [&path.routers[0], path.edge()]
            .iter()
            .filter_map(|replica| replica.process.pid())
            .collect();
        let body = body(0);
        let bare = Bare::start(stack, &binaries, &folder, address, &body, MEASURED).await?;
        let peers = Peers {
            installed: &installed,
            folder: &folder.join("peers"),
            engines: &engine.addresses,
            policy: "round_robin",
            body: &body,
            processor: MEASURED,
        };
        let peers = peers.start().await?;
        let chat = "/v1/chat/completions";
        let mut contenders = vec![Contender {
            name: "engine".to_owned(),
            target: Target::new(&format!("http://{address}{chat}"), None, body.clone())?,
            processes: Vec::new(),
        }];
        for peer in &peers {
            contenders.push(Contender {
                name: format!("{} {}", peer.name, peer.version),
                target: peer.target.clone(),
                processes: peer.process.pid().into_iter().collect(),
            });
        }
        contenders.push(Contender {
            name: "bare".to_owned(),
            target: bare.target.clone(),
            processes: bare.processes(),
        });
        contenders.push(Contender {
            name: "governed".to_owned(),
            target: Target::new(
                &format!("{}{chat}", path.base()),
                Some(journey.secret()),
                body,
            )?,
            processes: ours,
        });
        Ok(Self {
            contenders,
            _engine: engine,
            peers,
            _bare: bare,
            _path: path,
            _others: others,
        })
    }

    /// Every contender in turn, so many times, so that what else the machine does falls on all.
    pub async fn round_robin(
        &self,
        delay_ms: u64,
        connections: usize,
    ) -> anyhow::Result<Vec<Shown>> {
        let mut shown: Vec<Shown> = self.contenders.iter().map(|_| Shown::nothing()).collect();
        for _ in 0..ROUNDS {
            let in_turn = self.contenders.iter().zip(&mut shown);
            for (contender, shown) in in_turn.filter(|(_, shown)| shown.broken.is_none()) {
                let mut target = contender.target.clone();
                target.body = body(delay_ms);
                let families = contender.processes.iter().flat_map(|pid| family(*pid));
                let meter = CpuMeter::new(families.collect());
                let before = meter.read();
                match lean(&target, connections, LONG, Some(OTHERS)).await {
                    Ok(seen) => {
                        shown.cpu += meter.read().saturating_sub(before);
                        shown.rounds.push(seen);
                    }
                    Err(error) if self.is_anothers(contender) => {
                        shown.broken = Some(format!("{error:#}"));
                    }
                    Err(error) => return Err(error.context(contender.name.clone())),
                }
            }
        }
        Ok(shown)
    }

    fn is_anothers(&self, contender: &Contender) -> bool {
        let mut pids = self.peers.iter().filter_map(|peer| peer.process.pid());
        pids.any(|pid| contender.processes.contains(&pid))
    }

    /// Of edge and inference-routing together, in KiB.
    pub fn resident(&self) -> u64 {
        let governed = self.contenders.last();
        let pids = governed.iter().flat_map(|governed| &governed.processes);
        pids.filter_map(|pid| resident_kib(*pid)).sum()
    }
}

/// What every contender is asked. The engine waits as the prompt says.
fn body(delay_ms: u64) -> Bytes {
    let body = json!({
        "model": "scripted",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": format!("Say OK. delay={delay_ms}ms")},
        ],
        "max_tokens": 16,
    });
    Bytes::from(body.to_string())
}

impl Engine {
    async fn start(binaries: &Path, folder: &Path, ports: &mut Ports) -> anyhow::Result<Self> {
        let layout = Layout::new(folder.to_owned(), binaries.to_owned());
        let [port, also] = ["engine", "engine.also"].map(|name| ports.get(name));
        let addresses = [port, also].map(|port| format!("127.0.0.1:{port}"));
        let mut spec = simulator_spec(&layout, "fast-engine", "fast-engine", port, None);
        spec.argv
            .extend(["--also".to_owned(), addresses[1].clone()]);
        // The one that it binds last.
        spec.ready = Ready::Tcp {
            address: addresses[1].clone(),
        };
        create_private_folder(&spec.cwd)?;
        let process = Process::new(spec);
        if process.is_alive() {
            process.kill9();
        }
        on_processor(OTHERS, || Ok(process.start()?))?;
        process.wait_ready(Duration::from_secs(10)).await?;
        Ok(Self { process, addresses })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.process.kill9();
    }
}
