//! Secrets of a development stack: made once, kept in files of their owner.

use std::{fs, io, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use rand::Rng;

use super::files;

/// Random lower-case hex digits, `bytes` times two.
pub fn random_hex(bytes: usize) -> String {
    let mut secret = vec![0; bytes];
    rand::rng().fill(&mut secret[..]);
    hex::encode(secret)
}

/// Writes the keys of a service in the form that its `KeyProvider` reads, if they are not there.
pub fn ensure_keys(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut key = [0; 32];
    rand::rng().fill(&mut key[..]);
    let keys = serde_json::json!({"active": "k1", "keys": {"k1": STANDARD.encode(key)}});
    files::write_private(path, keys.to_string().as_bytes())
}

/// A secret in a file: the one that is there, or a new one.
pub fn ensure_secret(path: &Path) -> io::Result<String> {
    if let Ok(secret) = fs::read_to_string(path) {
        return Ok(secret);
    }
    let secret = random_hex(24);
    files::write_private(path, secret.as_bytes())?;
    Ok(secret)
}
