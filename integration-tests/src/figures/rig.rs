//! How figures of speed share two processors: what is measured has one to itself, everything else the
//! other.

use std::path::PathBuf;

use anyhow::Context;

use crate::{
    load::{family, foremost, pin, put_back},
    stack::Stack,
};

/// Where what is measured runs.
pub(super) const MEASURED: usize = 0;
/// Where everything else runs.
pub(super) const OTHERS: usize = 1;

/// The release programs, which `scripts/figure` builds.
pub(super) fn release() -> anyhow::Result<PathBuf> {
    folder("WANWU_RELEASE")
}

/// What others made, which `scripts/figure` installs.
pub(super) fn peers() -> anyhow::Result<PathBuf> {
    folder("WANWU_PEERS")
}

fn folder(name: &str) -> anyhow::Result<PathBuf> {
    let folder = std::env::var_os(name).map(PathBuf::from);
    folder.with_context(|| format!("{name} is not set: use scripts/figure NAME --full"))
}

/// The stack's own processes and this one, off the measured processor until this is dropped.
pub(super) struct Others(Vec<i32>);

impl Others {
    pub(super) fn of(stack: &Stack) -> anyhow::Result<Self> {
        let pids = stack.processes().filter_map(|process| process.pid());
        let mut others: Vec<i32> = pids.flat_map(family).collect();
        others.push(std::process::id().cast_signed());
        let others = Self(others);
        for pid in &others.0 {
            pin(*pid, &[OTHERS])?;
        }
        Ok(others)
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for pid in &self.0 {
            // One that has ended needs no processor.
            let _ = pin(*pid, &[MEASURED, OTHERS]);
        }
    }
}

/// The stack's engine and this process, which is the load: both before everything else on their processor until this
/// is dropped, as if they were other machines. Only for loads that leave most of the processor: the kernel keeps 5 %
/// for the rest, at a stretch, which a load that fills it would read as the path's.
pub(super) struct Foremost(Vec<i32>);

impl Foremost {
    pub(super) fn of(stack: &Stack) -> Self {
        let mut these = Self(Vec::new());
        let own = std::process::id().cast_signed();
        for pid in stack.process("engine").pid().into_iter().chain([own]) {
            // Known before it is done: it is taken back of a process of which some threads have it.
            these.0.push(pid);
            if let Err(error) = foremost(pid) {
                println!(
                    "  engine and load have no real-time priority, what else is on their processor delays them: {error}"
                );
                break;
            }
        }
        these
    }
}

impl Drop for Foremost {
    fn drop(&mut self) {
        for pid in &self.0 {
            // One that has ended, or never had it, needs nothing.
            let _ = put_back(*pid);
        }
    }
}
