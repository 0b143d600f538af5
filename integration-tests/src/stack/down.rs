use std::{fs, io, path::Path};

use super::{Progress, Stack, StackError, process::ProcessError};

/// Ends every process of a stack, the last started first.
///
/// # Errors
/// When one does not end.
pub fn down(stack: &Stack, progress: &Progress) -> Result<(), ProcessError> {
    // Those that answer to people and to each other end together: each drains for itself.
    let (stores, others): (Vec<_>, Vec<_>) = stack.processes().rev().partition(|process| {
        matches!(
            process.spec().name.as_str(),
            "postgres" | "rabbitmq" | "epmd"
        )
    });
    let running = others
        .into_iter()
        .filter(super::Process::is_alive)
        .collect::<Vec<_>>();
    let mut outcome = Ok(());
    std::thread::scope(|scope| {
        let ends: Vec<_> = running
            .iter()
            .map(|process| scope.spawn(move || (process, process.terminate())))
            .collect();
        for end in ends {
            let (process, ended) = end.join().expect("ending does not panic");
            progress.say(&format!("{} ended", process.spec().name));
            if ended.is_err() {
                outcome = ended;
            }
        }
    });
    outcome?;
    for process in stores.into_iter().filter(super::Process::is_alive) {
        process.terminate()?;
        progress.say(&format!("{} ended", process.spec().name));
    }
    Ok(())
}

/// Removes what a stack made: data, keys, certificates, logs. What it shares with others
/// (models, tools, other stacks) stays.
///
/// # Errors
/// When something cannot be removed, or a description is there that cannot be read.
pub fn wipe(dir: &Path) -> Result<(), StackError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| StackError::Read { path, source }
    };
    for name in [
        "postgres",
        "rabbitmq",
        "tls",
        "keys",
        "secrets",
        "config",
        "logs",
        "run",
        "traces",
        "simulators",
    ] {
        let path = dir.join(name);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(failed(&path))?;
        }
    }
    for name in ["stack.json", "engine.py"] {
        let path = dir.join(name);
        if path.exists() {
            fs::remove_file(&path).map_err(failed(&path))?;
        }
    }
    Ok(())
}
