use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use super::{Ready, files};

/// How often a state that should change is looked at again.
const POLL: Duration = Duration::from_millis(50);

/// A longer log becomes the predecessor of a new one when its process starts.
const MAX_LOG: u64 = 64 * 1024 * 1024;

/// How a process of the stack is started and recognised; a part of `stack.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Its name in the stack, such as `billing`.
    pub name: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The environment, whole: nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// What it prints goes here.
    pub log: PathBuf,
    /// Which process it is now.
    pub pid_file: PathBuf,
    /// How to see that it is ready.
    pub ready: Ready,
    /// Files that it reads at its start: it is started again when one has changed.
    pub inputs: Vec<PathBuf>,
    /// The signal that ends it in order.
    pub stop_signal: StopSignal,
    /// After so long it is killed, in milliseconds.
    pub stop_timeout_ms: u64,
    /// It may exit a few times at the start, while what its killed predecessor left goes away.
    pub retry_start: bool,
}

/// The signal that ends a process in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopSignal {
    /// Most processes.
    Term,
    /// PostgreSQL's fast shutdown.
    Int,
}

/// One process of the stack: it can be killed, paused, ended and started.
///
/// Signals go to its whole process group.
#[derive(Clone, Debug)]
pub struct Process {
    spec: ProcessSpec,
}

/// A process does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It cannot be started.
    #[error("cannot start {name} ({program})")]
    Start {
        /// The process.
        name: String,
        /// What was started.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// It ended instead of becoming ready.
    #[error("{name} ended; the end of {}:\n{tail}", log.display())]
    Ended {
        /// The process.
        name: String,
        /// Its log.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
    /// It runs, but does not become ready.
    #[error("{name} is not ready after {waited:?}: {why}; the end of {}:\n{tail}", log.display())]
    NotReady {
        /// The process.
        name: String,
        /// How long it was waited for.
        waited: Duration,
        /// What the last look said.
        why: String,
        /// Its log.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
    /// It survived even SIGKILL for ten seconds.
    #[error("{0} does not end")]
    Immortal(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Running {
    pid: i32,
    /// When the kernel started it, in clock ticks: tells it from another with the same pid.
    started: u64,
    fingerprint: u64,
}

impl Process {
    pub(crate) fn new(spec: ProcessSpec) -> Self {
        Self { spec }
    }

    /// How it is started.
    #[must_use]
    pub fn spec(&self) -> &ProcessSpec {
        &self.spec
    }

    /// Its pid, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.running().map(|running| running.pid)
    }

    /// It runs (or is paused).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.running().is_some()
    }

    /// It runs with the program, the arguments and the inputs that it would be started with now.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.running()
            .is_some_and(|running| running.fingerprint == self.fingerprint())
    }

    /// Starts it, unless it runs. Root starts it as the owner of the stack's folder.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&self) -> Result<(), ProcessError> {
        if self.is_alive() {
            return Ok(());
        }
        self.spawn().map_err(|source| ProcessError::Start {
            name: self.spec.name.clone(),
            program: self.spec.argv[0].clone(),
            source,
        })
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill9(&self) {
        self.signal(Signal::KILL);
        self.wait_gone(Duration::from_secs(10));
    }

    /// Pauses it with SIGSTOP: it holds its connections and says nothing.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a paused one go on.
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it in order, as a deployment would, and by SIGKILL when it takes too long.
    ///
    /// # Errors
    /// When even that does not end it.
    pub fn terminate(&self) -> Result<(), ProcessError> {
        self.signal(match self.spec.stop_signal {
            StopSignal::Term => Signal::TERM,
            StopSignal::Int => Signal::INT,
        });
        // A paused process takes no signal but this.
        self.signal(Signal::CONT);
        if !self.wait_gone(Duration::from_millis(self.spec.stop_timeout_ms)) {
            self.kill9();
        }
        if self.is_alive() {
            return Err(ProcessError::Immortal(self.spec.name.clone()));
        }
        fs::remove_file(&self.spec.pid_file).ok();
        Ok(())
    }

    /// Ends it in order and starts it again.
    ///
    /// # Errors
    /// When it does not end or cannot be started.
    pub fn restart(&self) -> Result<(), ProcessError> {
        self.terminate()?;
        self.start()
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it ends meanwhile, or is not ready in time.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), ProcessError> {
        let begin = Instant::now();
        loop {
            // First the life, then the look: a look at a dead one could meet another process.
            if !self.is_alive() {
                if !(self.spec.retry_start && begin.elapsed() < timeout) {
                    return Err(self.ended());
                }
                tokio::time::sleep(POLL * 10).await;
                self.start()?;
            }
            let why = match self.spec.ready.look().await {
                Ok(()) => return Ok(()),
                Err(why) => why,
            };
            let waited = begin.elapsed();
            if waited > timeout {
                let (name, log) = (self.spec.name.clone(), self.spec.log.clone());
                let tail = tail(&log);
                return Err(ProcessError::NotReady {
                    name,
                    waited,
                    why,
                    log,
                    tail,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn ended(&self) -> ProcessError {
        let log = self.spec.log.clone();
        ProcessError::Ended {
            name: self.spec.name.clone(),
            tail: tail(&log),
            log,
        }
    }

    fn spawn(&self) -> io::Result<()> {
        let spec = &self.spec;
        if fs::metadata(&spec.log).is_ok_and(|log| log.len() > MAX_LOG) {
            fs::rename(&spec.log, spec.log.with_extension("1.log"))?;
        }
        if !spec.log.exists() {
            files::write_private(&spec.log, b"")?;
        }
        let log = fs::OpenOptions::new().append(true).open(&spec.log)?;
        if !Path::new(&spec.argv[0]).exists() && spec.argv[0].contains('/') {
            return Err(io::ErrorKind::NotFound.into());
        }
        // A session of its own: the terminal that `scripts/up` ran in may close.
        let mut command = Command::new("setsid");
        command
            .args(&spec.argv)
            .env_clear()
            .envs(&spec.env)
            .current_dir(&spec.cwd)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        as_owner(&mut command, &spec.cwd)?;
        let fingerprint = self.fingerprint();
        let mut child = command.spawn()?;
        let pid = i32::try_from(child.id()).expect("Linux pids fit");
        let started = kernel_start(pid).unwrap_or(0);
        files::write_private(
            &spec.pid_file,
            format!("{pid} {started} {fingerprint}\n").as_bytes(),
        )?;
        // While we live we are its parent, and a dead child must be waited for.
        thread::spawn(move || child.wait());
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid().and_then(Pid::from_raw) {
            // One that has only just begun leads no group yet. It may have ended since: then there is
            // nothing to do.
            if rustix::process::kill_process_group(pid, signal).is_err() {
                rustix::process::kill_process(pid, signal).ok();
            }
        }
    }

    fn wait_gone(&self, timeout: Duration) -> bool {
        let begin = Instant::now();
        while self.is_alive() {
            if begin.elapsed() > timeout {
                return false;
            }
            thread::sleep(POLL / 5);
        }
        true
    }

    fn running(&self) -> Option<Running> {
        let text = fs::read_to_string(&self.spec.pid_file).ok()?;
        let mut words = text.split_whitespace();
        let pid = words.next()?.parse().ok()?;
        let started = words.next()?.parse().ok()?;
        let fingerprint = words.next()?.parse().ok()?;
        (kernel_start(pid) == Some(started)).then_some(Running {
            pid,
            started,
            fingerprint,
        })
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.spec.argv.hash(&mut hasher);
        self.spec.env.hash(&mut hasher);
        if let Ok(program) = fs::metadata(&self.spec.argv[0]) {
            (program.len(), program.mtime(), program.mtime_nsec()).hash(&mut hasher);
        }
        for input in &self.spec.inputs {
            fs::read(input).unwrap_or_default().hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// When the kernel started a process, in clock ticks; none for one that is gone or a zombie. A zombie of
/// which a thread still ends is not gone: it holds its ports.
fn kernel_start(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    let started = fields.nth(1)?.parse().ok()?;
    let is_gone = state == "X" || (state == "Z" && threads <= 1);
    (!is_gone).then_some(started)
}

/// Root runs nothing as root: the owner of the folder does it.
pub(crate) fn as_owner(command: &mut Command, folder: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(folder)?;
        command.uid(owner.uid()).gid(owner.gid());
    }
    Ok(())
}

fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4096)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(folder: &Path, script: &str) -> Process {
        Process::new(ProcessSpec {
            name: "one".to_owned(),
            argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()],
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            cwd: folder.to_owned(),
            log: folder.join("logs/one.log"),
            pid_file: folder.join("run/one.pid"),
            ready: Ready::Alive,
            inputs: vec![folder.join("input")],
            stop_signal: StopSignal::Term,
            stop_timeout_ms: 200,
            retry_start: false,
        })
    }

    #[test]
    fn a_killed_process_is_gone_and_starts_again() {
        let folder = tempfile::tempdir().unwrap();
        let one = process(folder.path(), "sleep 60 & wait");
        one.start().unwrap();
        let pid = one.pid().unwrap();
        one.start().unwrap();
        assert_eq!(one.pid(), Some(pid), "it runs already");
        one.kill9();
        assert!(!one.is_alive());
        one.start().unwrap();
        assert_ne!(one.pid(), Some(pid));
        one.terminate().unwrap();
        assert!(!one.is_alive());
    }

    #[test]
    fn one_that_ignores_the_signal_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let one = process(folder.path(), "trap '' TERM; sleep 60; sleep 60");
        one.start().unwrap();
        thread::sleep(POLL);
        one.stop();
        one.terminate().unwrap();
        assert!(!one.is_alive());
    }

    #[test]
    fn a_changed_input_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let one = process(folder.path(), "sleep 60");
        one.start().unwrap();
        assert!(one.is_current());
        fs::write(folder.path().join("input"), "new").unwrap();
        assert!(!one.is_current() && one.is_alive());
        one.kill9();
    }

    #[tokio::test]
    async fn one_that_ends_says_what_it_printed() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = process(folder.path(), "echo no such key; exit 64");
        one.spec.ready = Ready::Tcp {
            address: "127.0.0.1:1".to_owned(),
        };
        one.start().unwrap();
        let error = one.wait_ready(Duration::from_secs(5)).await.unwrap_err();
        assert!(error.to_string().contains("no such key"), "{error}");
    }
}
