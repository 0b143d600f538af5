//! The smallest service as a process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Cargo builds the examples beside the tests.
fn binary() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples/smallest")
}

fn command() -> Command {
    let mut command = Command::new(binary());
    command.env("SMALLEST__TELEMETRY__LOG_FILTER", "info");
    command
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    command()
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Process {
    child: Child,
    admin: SocketAddr,
}

impl Process {
    fn start(task: &str, environment: &[(&str, &str)]) -> Self {
        let admin = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let child = command()
            .arg("serve")
            .env("SMALLEST__BEHAVIOUR__TASK", task)
            .env("SMALLEST__ADMIN__LISTEN", admin.to_string())
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, admin }
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.admin).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn wait_for(&self, path: &str, status: &str) -> String {
        let begun = Instant::now();
        loop {
            let answer = self.get(path).unwrap_or_default();
            if answer.starts_with(&format!("HTTP/1.1 {status}")) {
                return answer;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{path}: {answer}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// The exit code and the log.
    fn end(mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        let log = BufReader::new(self.child.stdout.take().unwrap());
        let log: Vec<_> = log.lines().map_while(Result::ok).collect();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < Duration::from_secs(15), "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        (status.code(), log.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing is left of a test that fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_lives_is_ready_counts_and_ends_when_told() {
    let process = Process::start("finishes", &[]);
    process.wait_for("/ready", "200");
    process.wait_for("/live", "200");
    process.wait_for("/metrics", "200");
    process.terminate();
    let (code, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("finished its work"), "{log}");
    let line = log.lines().find(|line| line.contains("finished")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["service"], "smallest");
    assert_eq!(line["level"], "INFO");
}

#[test]
fn it_says_not_ready_while_it_drains() {
    let process = Process::start("until told", &[("SMALLEST__SERVICE__DRAIN_DELAY", "2s")]);
    process.wait_for("/ready", "200");
    process.terminate();
    process.wait_for("/ready", "503");
    process.wait_for("/live", "200");
    assert_eq!(process.end().0, Some(0));
}

#[test]
fn a_latch_keeps_it_from_being_ready() {
    let process = Process::start("is not ready", &[]);
    process.wait_for("/live", "200");
    std::thread::sleep(Duration::from_millis(200));
    process.wait_for("/ready", "503");
    process.terminate();
    assert_eq!(process.end().0, Some(0));
}

#[test]
fn a_task_that_dies_ends_the_process() {
    for (task, why) in [
        ("fails", "the reason"),
        ("panics", "it panicked"),
        ("ends", "it ended"),
    ] {
        let (code, log) = Process::start(task, &[]).end();
        assert_eq!(code, Some(1), "{task}: {log}");
        assert!(log.contains(why), "{task}: {log}");
        assert!(!log.contains("13800138000"), "a panic's text is not logged");
    }
}

#[test]
fn what_cannot_start_fails() {
    let (code, log) = Process::start("cannot start", &[]).end();
    assert_eq!(code, Some(1));
    assert!(log.contains("no database"), "{log}");
}

#[test]
fn a_task_that_never_ends_is_cut_at_the_hard_end() {
    let process = Process::start("never ends", &[("SMALLEST__SERVICE__HARD_END", "1s")]);
    process.wait_for("/ready", "200");
    let begun = Instant::now();
    process.terminate();
    assert_eq!(process.end().0, Some(1));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_collector_that_is_away_does_not_keep_it_from_ending() {
    let nowhere = [("SMALLEST__TELEMETRY__OTLP_ENDPOINT", "http://127.0.0.1:1")];
    let process = Process::start("until told", &nowhere);
    process.wait_for("/ready", "200");
    let begun = Instant::now();
    process.terminate();
    assert_eq!(process.end().0, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_bad_configuration_ends_with_64_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("[service]\nregion = 'us-east-1'\n", "service.region"),
        (
            "[service]\nenvironment = 'production'\n",
            "behaviour.provider_url",
        ),
        ("[behaviour]\nunknown = 1\n", "unknown"),
        ("[service\n", "wrong shape"),
    ];
    for (config, told) in cases {
        let file = folder.path().join("config.toml");
        std::fs::write(&file, config).unwrap();
        for command in ["check-config", "serve"] {
            let output = run(&["--config", file.to_str().unwrap(), command], &[]);
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(64), "{config}: {error}");
            assert!(error.contains(told), "{config}: {error}");
        }
    }
    assert_eq!(
        run(&["--config", "/nowhere.toml", "check-config"], &[])
            .status
            .code(),
        Some(64)
    );
}

#[test]
fn check_config_shows_the_layers_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "[service]\nregion = 'cn-east-2'\nworkers = 3\n").unwrap();
    let output = run(
        &["--config", file.to_str().unwrap(), "check-config"],
        &[("SMALLEST__SERVICE__WORKERS", "4")],
    );
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        shown.contains("cn-east-2"),
        "the file wins over the default: {shown}"
    );
    assert!(
        shown.contains("workers = 4"),
        "the environment wins over the file: {shown}"
    );
    assert!(!shown.contains("hunter2"));
}

#[test]
fn a_service_has_commands_of_its_own() {
    let output = run(&["greet", "wanwu"], &[]);
    assert_eq!(text(&output.stdout), "hello wanwu\n");
    assert_eq!(run(&["migrate"], &[]).status.code(), Some(0));
    assert_eq!(run(&["dance"], &[]).status.code(), Some(64));
}
