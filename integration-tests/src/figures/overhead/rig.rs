//! Those that are compared: edge and inference-routing with and without their work, and gateways of others,
//! all on one processor, one engine and the load on the other.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use serde_json::json;

use super::{
    super::{
        customers::passing,
        model_path::{AS_DEPLOYED, Alone, ModelPath},
        peers::{Peer, Peers},
        rig::{self, MEASURED, OTHERS, Others},
    },
    bare::Bare,
    side_by_side::Shown,
};
use crate::{
    journey::Journey,
    load::{CpuMeter, Lean, Target, family, lean, on_processor, resident_kib},
    stack::{Layout, Ports, Process, Ready, Stack, create_private_folder, simulator_spec},
};

/// Rounds of each with so many connections, where the engine answers at once.
const ROUNDS: usize = 5;
/// Where it waits, for then a round takes long before it begins, and of those that take milliseconds of processor
/// time a call: their places in the table are not close.
const FEW_ROUNDS: usize = 3;
const SLOW: [&str; 2] = ["portkey", "litellm"];
/// Each round of each.
const LONG: Duration = Duration::from_millis(1500);

/// What the text of a long prompt takes, in bytes: some blocks of placement.
pub(super) const LONG_PROMPT: usize = 8 << 10;

/// One that is measured.
#[derive(Clone)]
pub(super) struct Contender {
    pub name: String,
    pub target: Target,
    /// The first process of each family; empty: the engine itself, which nobody stands before.
    pub processes: Vec<i32>,
    pub prompt: Prompt,
    /// Gateways of others may fail under a load that others bear.
    anothers: bool,
}

/// What a contender is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    /// Less than a block of placement.
    Short,
    /// [`LONG_PROMPT`].
    Long,
}

/// All that stands, as long as it is measured.
pub(super) struct Rig {
    pub contenders: Vec<Contender>,
    /// That of `governed`.
    pub path: ModelPath,
    engine: Engine,
    _peers: Vec<Peer>,
    _bare: Bare,
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
        let path = engine.governed(stack, "overhead", AS_DEPLOYED).await?;
        let body = body(Prompt::Short, 0);
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
        let direct = Target::new(&format!("http://{address}{chat}"), None, body.clone())?;
        let mut contenders = vec![Contender::ours("engine", direct, Vec::new())];
        for peer in &peers {
            let name = format!("{} {}", peer.name, peer.version);
            let processes = peer.process.pid().into_iter().collect();
            contenders.push(Contender {
                anothers: true,
                ..Contender::ours(&name, peer.target.clone(), processes)
            });
        }
        contenders.push(Contender::ours(
            "bare",
            bare.target.clone(),
            bare.processes(),
        ));
        let url = format!("{}{chat}", path.base());
        let through = Target::new(&url, Some(journey.secret()), body)?;
        contenders.push(Contender::ours("governed", through, processes(&path)));
        Ok(Self {
            contenders,
            path,
            engine,
            _peers: peers,
            _bare: bare,
            _others: others,
        })
    }

    /// Edge and inference-routing once more, of which every call is recorded.
    pub async fn recorded(&self, stack: &Stack) -> anyhow::Result<ModelPath> {
        self.engine.governed(stack, "overhead-recorded", 1.0).await
    }

    /// The contender whose name begins so; none: it is left out.
    pub fn named(&self, name: &str) -> Option<&Contender> {
        self.contenders.iter().find(|it| it.name.starts_with(name))
    }

    /// Of edge and inference-routing together, in KiB.
    pub fn resident(&self) -> u64 {
        let governed = self.contenders.last();
        let pids = governed.iter().flat_map(|governed| &governed.processes);
        pids.filter_map(|pid| resident_kib(*pid)).sum()
    }
}

/// Every contender in turn, so many times, so that what else the machine does falls on all.
pub(super) async fn round_robin(
    contenders: &[Contender],
    delay_ms: u64,
    connections: usize,
) -> anyhow::Result<Vec<Shown>> {
    let mut shown: Vec<Shown> = contenders.iter().map(|_| Shown::nothing()).collect();
    for round in 0..ROUNDS {
        let in_turn = contenders.iter().zip(&mut shown);
        let in_turn = in_turn.filter(|(contender, shown)| {
            round < contender.rounds(delay_ms) && shown.broken.is_none()
        });
        for (contender, shown) in in_turn {
            let families = contender.processes.iter().flat_map(|pid| family(*pid));
            let meter = CpuMeter::new(families.collect());
            let before = meter.read();
            match contender.ask(delay_ms, connections).await {
                Ok(seen) => {
                    shown.cpu += meter.read().saturating_sub(before);
                    shown.rounds.push(seen);
                }
                Err(error) if contender.anothers => {
                    shown.broken = Some(format!("{error:#}"));
                }
                Err(error) => return Err(error.context(contender.name.clone())),
            }
        }
    }
    Ok(shown)
}

impl Contender {
    fn ours(name: &str, target: Target, processes: Vec<i32>) -> Self {
        Self {
            name: name.to_owned(),
            target,
            processes,
            prompt: Prompt::Short,
            anothers: false,
        }
    }

    /// The same one, asked a long prompt.
    pub fn with_long_prompt(&self) -> Self {
        Self {
            name: format!("{}, a prompt of {} KiB", self.name, LONG_PROMPT >> 10),
            prompt: Prompt::Long,
            ..self.clone()
        }
    }

    /// The same call on another path.
    pub fn on(&self, name: &str, path: &ModelPath) -> Self {
        let mut on = self.clone();
        on.name = name.to_owned();
        on.target.authority.clone_from(&path.edge().address);
        on.processes = processes(path);
        on
    }

    fn rounds(&self, delay_ms: u64) -> usize {
        let is_slow = SLOW.iter().any(|name| self.name.starts_with(name));
        match delay_ms > 0 || is_slow {
            true => FEW_ROUNDS,
            false => ROUNDS,
        }
    }

    /// Asks it over so many connections, for a round.
    pub async fn ask(&self, delay_ms: u64, connections: usize) -> anyhow::Result<Lean> {
        let mut target = self.target.clone();
        target.body = body(self.prompt, delay_ms);
        lean(&target, connections, LONG, Some(OTHERS)).await
    }
}

fn processes(path: &ModelPath) -> Vec<i32> {
    let replicas = [&path.routers[0], path.edge()].into_iter();
    replicas
        .filter_map(|replica| replica.process.pid())
        .collect()
}

/// What is asked. The engine waits as the prompt says.
fn body(prompt: Prompt, delay_ms: u64) -> Bytes {
    let mut user = format!("Say OK. delay={delay_ms}ms");
    if prompt == Prompt::Long {
        // Each token is one character, of three bytes.
        user.extend(passing(LONG_PROMPT.div_ceil(3)));
    }
    let body = json!({
        "model": "scripted",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": user},
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

    /// Edge and inference-routing before it, on the measured processor.
    async fn governed(
        &self,
        stack: &Stack,
        figure: &'static str,
        recorded: f64,
    ) -> anyhow::Result<ModelPath> {
        let urls = self.addresses.each_ref();
        let alone = Alone {
            binaries: &rig::release()?,
            engines: &urls.map(|address| format!("http://{address}")),
            processor: MEASURED,
            recorded,
        };
        ModelPath::start_alone(stack, figure, alone).await
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.process.kill9();
    }
}
