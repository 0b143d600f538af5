//! A file of data that is read again whenever it changes.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use metrics::counter;
use tokio_util::sync::CancellationToken;

/// How often the file is looked at.
const POLL: Duration = Duration::from_millis(500);

/// When the file was written and how long it is.
type Stamp = (SystemTime, u64);

/// A file, as it was read last.
pub struct FollowedFile {
    what: &'static str,
    path: PathBuf,
    stamp: Option<Stamp>,
}

impl FollowedFile {
    /// Reads the file; `what` names it in logs and metrics.
    pub fn read(what: &'static str, path: &Path) -> io::Result<(Self, Vec<u8>)> {
        // The stamp comes first: what is written after it differs from it and is read again.
        let stamp = stamp(path)?;
        let bytes = fs::read(path)?;
        let path = path.to_owned();
        Ok((
            Self {
                what,
                path,
                stamp: Some(stamp),
            },
            bytes,
        ))
    }

    /// Gives the file to `take` after every change, until `stop`. What `take` refuses changes
    /// nothing: the old data stays in force until the file changes again.
    pub async fn follow<E: Error>(
        mut self,
        stop: CancellationToken,
        take: impl Fn(Vec<u8>) -> Result<(), E>,
    ) {
        while stop
            .run_until_cancelled(tokio::time::sleep(POLL))
            .await
            .is_some()
        {
            let path = self.path.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || changed(&path, self.stamp)).await
            else {
                continue;
            };
            let what = self.what;
            let taken = match read {
                Ok(None) => continue,
                Ok(Some((stamp, bytes))) => {
                    self.stamp = Some(stamp);
                    take(bytes).map_err(|error| chain(&error))
                }
                // A file that is away for a moment is being replaced.
                Err(error) if self.stamp.take().is_some() => Err(error.to_string()),
                Err(_) => continue,
            };
            let outcome = match taken {
                Ok(()) => {
                    tracing::info!(what, "a file was read again");
                    "taken"
                }
                Err(error) => {
                    tracing::warn!(what, error, "a new file is refused; the old one stays");
                    "refused"
                }
            };
            counter!("edge_file_reloads_total", "file" => what, "outcome" => outcome).increment(1);
        }
    }
}

fn changed(path: &Path, known: Option<Stamp>) -> io::Result<Option<(Stamp, Vec<u8>)>> {
    let stamp = stamp(path)?;
    if Some(stamp) == known {
        return Ok(None);
    }
    Ok(Some((stamp, fs::read(path)?)))
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.modified()?, metadata.len()))
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
