//! A private PostgreSQL cluster: its own data, its own port, loopback only, durable as in
//! production.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Layout, ProcessSpec, Ready, files,
    process::{StopSignal, as_owner},
    services::environment,
};

/// The oldest PostgreSQL that the migrations are written for.
const OLDEST: u32 = 15;

/// Where the program is: the newest version that is installed.
pub fn programs() -> io::Result<PathBuf> {
    let mut versions: Vec<u32> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| {
            let names = entries.flatten().map(|entry| entry.file_name());
            names
                .filter_map(|name| name.to_str()?.parse().ok())
                .collect()
        })
        .unwrap_or_default();
    versions.sort_unstable();
    match versions.last() {
        Some(version) if *version >= OLDEST => {
            Ok(PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        }
        _ => Err(io::Error::other(format!(
            "PostgreSQL {OLDEST} or newer is not installed (apt-get install postgresql)"
        ))),
    }
}

/// Makes the cluster, unless it is there.
pub fn ensure_cluster(layout: &Layout, port: u16, password: &str) -> io::Result<()> {
    let folder = layout.folder("postgres");
    let data = folder.join("data");
    files::create_private_folder(&folder)?;
    if !data.join("PG_VERSION").exists() {
        initialise(&folder, &data, password)?;
    }
    files::write_private(&data.join("wanwu.conf"), configuration(port).as_bytes())?;
    let main = data.join("postgresql.conf");
    let text = fs::read_to_string(&main)?;
    if !text.contains("include 'wanwu.conf'") {
        let text = format!("{text}\ninclude 'wanwu.conf'\n");
        files::write_private(&main, text.as_bytes())?;
    }
    // What somebody set by a statement, and was cut off before it was set back.
    fs::File::create(data.join("postgresql.auto.conf")).map(drop)
}

fn initialise(folder: &Path, data: &Path, password: &str) -> io::Result<()> {
    // A cluster that a killed run began is not one.
    fs::remove_dir_all(data).ok();
    let password_file = folder.join("password");
    files::write_private(&password_file, password.as_bytes())?;
    let mut command = Command::new(programs()?.join("initdb"));
    command
        .arg("--pgdata")
        .arg(data)
        .arg("--pwfile")
        .arg(&password_file)
        .args(["--username=postgres", "--auth=scram-sha-256"])
        .args(["--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"])
        .env_clear()
        .envs(environment(folder))
        .current_dir(folder);
    as_owner(&mut command, folder)?;
    let output = command.output()?;
    fs::remove_file(&password_file)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )))
    }
}

/// fsync and synchronous commits are on: what journeys and figures show must hold there too. `scripts/test` sets fsync
/// aside for the tests of single services; a server that starts has it again.
fn configuration(port: u16) -> String {
    format!(
        "# Written by `stack up`.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 400
shared_buffers = 256MB
max_wal_size = 2GB
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
"
    )
}

/// The server process.
pub fn spec(layout: &Layout, superuser_url: &str) -> io::Result<ProcessSpec> {
    let folder = layout.folder("postgres");
    let data = folder.join("data");
    Ok(ProcessSpec {
        name: "postgres".to_owned(),
        argv: vec![
            programs()?.join("postgres").display().to_string(),
            "-D".to_owned(),
            data.display().to_string(),
        ],
        env: environment(&folder),
        log: layout.log("postgres"),
        pid_file: layout.pid_file("postgres"),
        ready: Ready::Postgres {
            url: superuser_url.to_owned(),
        },
        inputs: vec![data.join("wanwu.conf")],
        cwd: folder,
        stop_signal: StopSignal::Int,
        stop_timeout_ms: 20_000,
        retry_start: true,
    })
}
