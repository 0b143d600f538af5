use std::{collections::BTreeMap, path::Path};

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;

use crate::{commands::CatalogueError, domain::purpose::Purpose};

/// The purposes that one can consent to, with the hashes of their texts.
pub struct Purposes(BTreeMap<String, (Purpose, String)>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    purposes: Vec<Purpose>,
}

impl Purposes {
    /// Reads `purposes.toml` of a folder.
    pub fn load(folder: &Path) -> Result<Self, CatalogueError> {
        let path = folder.join("purposes.toml");
        let text =
            std::fs::read_to_string(&path).map_err(|error| CatalogueError::Read(path, error))?;
        let file: File = toml::from_str(&text)?;
        Ok(Self(
            file.purposes
                .into_iter()
                .map(|purpose| {
                    let hash = sha256_hex(&purpose.text);
                    (purpose.code.clone(), (purpose, hash))
                })
                .collect(),
        ))
    }

    /// The purposes with the hashes of their texts, by code.
    pub fn iter(&self) -> impl Iterator<Item = &(Purpose, String)> {
        self.0.values()
    }

    /// The hash of a purpose's current text.
    #[must_use]
    pub fn text_sha256(&self, code: &str) -> Option<&str> {
        self.0.get(code).map(|(_, hash)| hash.as_str())
    }

    /// A consent to the purpose is good for one act only.
    #[must_use]
    pub fn is_single_use(&self, code: &str) -> bool {
        self.0
            .get(code)
            .is_some_and(|(purpose, _)| purpose.single_use)
    }
}

/// SHA-256 of a text's UTF-8 bytes, hex.
#[must_use]
pub fn sha256_hex(text: &str) -> String {
    hex::encode(digest(&SHA256, text.as_bytes()))
}
