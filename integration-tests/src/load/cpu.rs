use std::{fs, io, process::Command, time::Duration};

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
};

/// The processor time that processes take, all their threads together.
#[derive(Clone, Debug)]
pub struct CpuMeter {
    pids: Vec<i32>,
}

impl CpuMeter {
    /// A meter of some processes.
    #[must_use]
    pub const fn new(pids: Vec<i32>) -> Self {
        Self { pids }
    }

    /// What they took since they began. Threads that ended count no more, so a measurement is a
    /// difference over a time in which the threads stay.
    #[must_use]
    pub fn read(&self) -> Duration {
        self.sum(0)
    }

    /// How long their threads were ready to run and another one had the processor.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.sum(1)
    }

    fn sum(&self, field: usize) -> Duration {
        Duration::from_nanos(self.pids.iter().map(|pid| counted(*pid, field)).sum())
    }
}

/// The kernel's count in nanoseconds: `schedstat` is exact where `stat` counts ticks of 10 ms.
fn counted(pid: i32, field: usize) -> u64 {
    threads(pid)
        .iter()
        .filter_map(|thread| {
            let stat = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
            stat.split_whitespace().nth(field)?.parse::<u64>().ok()
        })
        .sum()
}

fn threads(pid: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// Binds every thread of a process, and those that it starts later, to some processors.
///
/// # Errors
/// When the process is gone or belongs to somebody else.
pub fn pin(pid: i32, processors: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for processor in processors {
        set.set(*processor);
    }
    for thread in threads(pid) {
        match sched_setaffinity(Pid::from_raw(thread), &set) {
            // A thread may have ended since it was listed.
            Err(rustix::io::Errno::SRCH) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Gives every thread of a process real-time priority, the lowest there is: it runs before all that have none. Threads
/// and processes that it starts later have none, so that what it is to measure runs as anywhere.
///
/// # Errors
/// When that is not permitted.
pub fn foremost(pid: i32) -> io::Result<()> {
    chrt(&["--rr", "--reset-on-fork"], "1", pid)
}

/// Takes back what [`foremost`] gave.
///
/// # Errors
/// When the process is gone, or that is not permitted.
pub fn put_back(pid: i32) -> io::Result<()> {
    chrt(&["--other"], "0", pid)
}

/// `chrt` of util-linux.
fn chrt(policy: &[&str], priority: &str, pid: i32) -> io::Result<()> {
    let mut command = Command::new("chrt");
    command
        .args(policy)
        .args(["--all-tasks", "--pid", priority]);
    let done = command.arg(pid.to_string()).output()?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(io::Error::other(said.trim().to_owned()))
}

/// Binds the thread that asks to a processor.
pub(super) fn pin_thread(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}

/// Does something on a processor; what is started there stays there.
///
/// # Errors
/// When there is no such processor, or the work fails.
pub fn on_processor<T>(
    processor: usize,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let before = rustix::thread::sched_getaffinity(None)?;
    pin_thread(processor)?;
    let done = work();
    sched_setaffinity(None, &before)?;
    done
}

/// A process and all that it started, and what those started.
#[must_use]
pub fn family(pid: i32) -> Vec<i32> {
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        for thread in threads(parent) {
            let file = format!("/proc/{parent}/task/{thread}/children");
            let children = fs::read_to_string(file).unwrap_or_default();
            family.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<i32>().ok()),
            );
        }
        at += 1;
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time() {
        let own = std::process::id().cast_signed();
        let meter = CpuMeter::new(vec![own]);
        let before = meter.read();
        let mut sum = 0_u64;
        for number in 0..20_000_000_u64 {
            sum = std::hint::black_box(sum ^ number);
        }
        assert!(meter.read() - before > Duration::from_millis(1));
    }
}
