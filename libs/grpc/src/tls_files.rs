use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::Deserialize;

/// Section `[tls]` of a service's configuration. All three are PEM files, read again when they
/// change.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificates that peers' certificates must be signed by.
    pub ca_file: PathBuf,
    /// This service's certificate and what leads to the authority.
    pub cert_file: PathBuf,
    /// The certificate's private key.
    pub key_file: PathBuf,
}

/// When the three files were written and how long they are: another value means other files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp([(SystemTime, u64); 3]);

impl TlsConfig {
    pub(crate) fn stamp(&self) -> io::Result<Stamp> {
        let one = |path: &Path| {
            let metadata = fs::metadata(path)?;
            Ok::<_, io::Error>((metadata.modified()?, metadata.len()))
        };
        Ok(Stamp([
            one(&self.ca_file)?,
            one(&self.cert_file)?,
            one(&self.key_file)?,
        ]))
    }
}
