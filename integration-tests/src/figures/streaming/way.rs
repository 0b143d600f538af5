//! The ways of a stream: from the engine itself, through the platform, through gateways of others.

use anyhow::Context;
use bytes::Bytes;
use serde_json::{Value, json};

use super::super::{
    Tier,
    customers::{scripted, truth_of},
    model_path::{AS_DEPLOYED, Alone, ModelPath},
    peers::{Peer, Peers},
    rig::{self, Foremost, MEASURED, Others},
};
use crate::{
    journey::Journey,
    load::{Target, resident},
    stack::{Stack, create_private_folder},
};

const ON_THE_PATH: [&str; 2] = ["edge", "inference-routing"];

/// The way that is measured: the stack's own, or release programs on a processor of their own.
pub(super) struct Way {
    engine: String,
    platform: String,
    pub pids: [i32; 2],
    /// Gateways of others on the same processor, each measured while the others rest.
    peers: Vec<Peer>,
    _alone: Option<(Foremost, ModelPath, Others)>,
}

impl Way {
    pub async fn of(stack: &Stack, tier: Tier) -> anyhow::Result<Self> {
        let engine = stack.simulator("engine").to_owned();
        if tier == Tier::Quick {
            let pids = ON_THE_PATH.map(|name| stack.process(name).pid().unwrap_or_default());
            return Ok(Self {
                engine,
                platform: stack.description().edge.clone(),
                pids,
                peers: Vec::new(),
                _alone: None,
            });
        }
        let others = Others::of(stack)?;
        let folder = stack.description().dir.join("figures/streaming");
        create_private_folder(&folder)?;
        let body = Bytes::from(scripted(json!({"tokens": 1})).to_string());
        let address = engine.trim_start_matches("http://").to_owned();
        let peers = Peers {
            installed: &rig::peers()?,
            folder: &folder.join("peers"),
            engines: std::slice::from_ref(&address),
            policy: "round_robin",
            body: &body,
            processor: MEASURED,
        };
        let peers = peers.start_passing().await?;
        let alone = Alone {
            binaries: &rig::release()?,
            engines: std::slice::from_ref(&engine),
            processor: MEASURED,
            recorded: AS_DEPLOYED,
        };
        let path = ModelPath::start_alone(stack, "streaming", alone).await?;
        let pids = [path.edge(), &path.routers[0]];
        let pids = pids.map(|replica| replica.process.pid().unwrap_or_default());
        Ok(Self {
            engine,
            platform: path.base(),
            pids,
            peers,
            _alone: Some((Foremost::of(stack), path, others)),
        })
    }

    /// The same request to the engine and to the platform.
    pub fn paths(&self, customer: &Journey, script: Value) -> anyhow::Result<[Target; 2]> {
        let body = streamed(script);
        let engine = format!("{}/v1/chat/completions", self.engine);
        let platform = format!("{}/v1/chat/completions", self.platform);
        Ok([
            Target::new(&engine, None, body.clone())?,
            Target::new(&platform, Some(customer.secret()), body)?,
        ])
    }

    /// The same request to gateways of others, by their names.
    pub fn others(&self, script: &Value) -> Vec<(String, Target)> {
        let body = streamed(script.clone());
        let with_body = |peer: &Peer| {
            let mut target = peer.target.clone();
            target.body = body.clone();
            let name = format!("{} {}", peer.name, peer.version);
            (name, target)
        };
        self.peers.iter().map(with_body).collect()
    }

    /// The most calls that ran on the engine at one instant since this was asked last, by its own count.
    pub async fn most_at_once(&self, customer: &Journey) -> anyhow::Result<u64> {
        let truth = truth_of(customer.api().http(), &self.engine, "?brief=true").await?;
        let most = truth["engine"]["most_at_once"].as_u64();
        most.context("the engine does not count")
    }

    /// What edge and inference-routing take, in MiB.
    pub fn memory(&self) -> [u64; 2] {
        self.pids.map(|pid| resident(pid).unwrap_or(0))
    }
}

fn streamed(script: Value) -> Bytes {
    let mut body = scripted(script);
    body["stream"] = json!(true);
    Bytes::from(body.to_string())
}
