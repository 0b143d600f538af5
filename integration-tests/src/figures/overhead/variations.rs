//! What the usual call does not show: a prompt of which placement hashes blocks, and a trace of every call.

use anyhow::{Context, ensure};
use inference_routing::domain::placement::BLOCK_BYTES;

use super::{
    super::model_path::Replica,
    rig::{Contender, LONG_PROMPT, Prompt, Rig, round_robin},
    side_by_side::print_lines,
};
use crate::stack::Stack;

const CONNECTIONS: usize = 64;
/// Of those with a choice among engines; the others' place in the table is by the usual call.
const WITH_A_LONG_PROMPT: [&str; 3] = ["engine", "sglang-router", "governed"];

/// Measures them beside the usual call, all in turn, with an engine that does not wait.
pub(super) async fn measure(stack: &Stack, rig: &Rig) -> anyhow::Result<()> {
    // Only now: until here its processes would stand on the measured processor for nothing.
    let path = rig.recorded(stack).await?;
    let mut contenders = Vec::new();
    for name in WITH_A_LONG_PROMPT {
        if let Some(usual) = rig.named(name) {
            contenders.extend([usual.clone(), usual.with_long_prompt()]);
        }
    }
    let governed = rig.named("governed").context("governed is measured")?;
    let recorded = governed.on("governed, every call recorded", &path);
    // What a process does for the first calls of its life is no part of the claim.
    recorded.ask(0, CONNECTIONS).await?;
    contenders.push(recorded);
    let router = &rig.path.routers[0];
    let before = blocks(router).await?;
    let shown = round_robin(&contenders, 0, CONNECTIONS).await?;
    let looked_at = blocks(router).await? - before;
    print_lines(0, CONNECTIONS, &contenders, &shown);
    let is_long = |it: &Contender| it.prompt == Prompt::Long && it.name.starts_with("governed");
    let long = contenders.iter().position(is_long);
    let calls = long.map_or(0, |place| shown[place].calls());
    println!("  placement looked at {looked_at:.0} blocks of the {calls} long prompts");
    // No matter of speed: without it the line would claim what was not done.
    let each = LONG_PROMPT / BLOCK_BYTES;
    ensure!(
        calls > 0 && looked_at >= (calls * each) as f64,
        "placement looked at {looked_at:.0} blocks of {calls} prompts that have {each} each"
    );
    Ok(())
}

/// Blocks of prompts that a router has looked at since it started.
async fn blocks(router: &Replica) -> anyhow::Result<f64> {
    let by_kind = router.metric("inference_routing_placement_blocks", "", "kind");
    Ok(by_kind.await?.values().sum())
}
