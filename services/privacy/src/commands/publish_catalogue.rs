use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use wanwu_ids::VersionId;

use super::publish_agreement::published;
use crate::{
    app::App,
    purposes::sha256_hex,
    store::agreements::{self, AgreementVersion},
};

/// The agreements that come with the product cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A file is absent or no text.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    /// The catalogue is not what it must be.
    #[error("the catalogue of agreements is not valid")]
    Parse(#[from] toml::de::Error),
    /// A text is not the one that the catalogue was made for.
    #[error("the text of {agreement} version {number} is not the one that its hash names")]
    Hash {
        /// Which agreement.
        agreement: String,
        /// Which version.
        number: i32,
    },
    /// A published version differs from the catalogue's.
    #[error("{agreement} version {number} was published with another text")]
    Changed {
        /// Which agreement.
        agreement: String,
        /// Which version.
        number: i32,
    },
    /// The database failed.
    #[error("cannot write the agreements")]
    Database(#[from] sqlx::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    versions: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    version_id: VersionId,
    agreement: String,
    number: i32,
    title: String,
    file: PathBuf,
    sha256: String,
    publish_time: DateTime<Utc>,
    effective_time: DateTime<Utc>,
}

impl App {
    /// Publishes the versions of a folder (`agreements.toml` and the texts that it names) that are
    /// not published yet. A version whose text changed stops the service: it was immutable. Every
    /// version is told again: who pins versions may be newer than they are, and knows a repetition.
    pub async fn publish_catalogue(&self, folder: &Path) -> Result<(), CatalogueError> {
        let catalogue: Catalogue = toml::from_str(&read(&folder.join("agreements.toml"))?)?;
        let mut tx = self.pool.begin().await?;
        agreements::lock(&mut tx).await?;
        for entry in catalogue.versions {
            let (agreement, number) = (entry.agreement.clone(), entry.number);
            let text = read(&folder.join(&entry.file))?;
            if sha256_hex(&text) != entry.sha256 {
                return Err(CatalogueError::Hash { agreement, number });
            }
            let version = AgreementVersion {
                version_id: entry.version_id,
                agreement: entry.agreement,
                number: entry.number,
                title: entry.title,
                sha256: entry.sha256,
                published_at: entry.publish_time,
                effective_at: entry.effective_time,
            };
            if !agreements::insert(&mut tx, &version, &text).await? {
                let published = agreements::find(&mut tx, version.version_id).await?;
                if published.is_none_or(|published| published.sha256 != version.sha256) {
                    return Err(CatalogueError::Changed { agreement, number });
                }
            }
        }
        for version in agreements::all(&mut tx).await? {
            wanwu_events::publish(&mut tx, &self.ids, &published(&version)).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, CatalogueError> {
    std::fs::read_to_string(path).map_err(|error| CatalogueError::Read(path.to_owned(), error))
}
