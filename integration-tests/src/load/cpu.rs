use std::{fs, io, time::Duration};

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
        let nanos: u64 = self.pids.iter().map(|pid| taken(*pid)).sum();
        Duration::from_nanos(nanos)
    }
}

/// The kernel's count in nanoseconds: `schedstat` is exact where `stat` counts ticks of 10 ms.
fn taken(pid: i32) -> u64 {
    threads(pid)
        .iter()
        .filter_map(|thread| {
            let stat = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
            stat.split_whitespace().next()?.parse::<u64>().ok()
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
