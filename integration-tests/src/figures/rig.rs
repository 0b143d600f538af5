//! How figures of speed share two processors: what is measured has one to itself, everything else the
//! other.

use std::path::PathBuf;

use anyhow::Context;

use crate::{
    load::{family, pin},
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
