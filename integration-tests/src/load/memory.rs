/// Resident memory of a process, in MiB; none: there is no such process.
#[must_use]
pub fn resident(pid: i32) -> Option<u64> {
    Some(resident_kib(pid)? / 1024)
}

/// As [`resident`], in KiB.
#[must_use]
pub fn resident_kib(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
