use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::{
    app::App,
    domain::product::{Catalogue, Product},
    error::Error,
    store::products,
};

/// The catalogues cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A file is absent or no text.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// A file is no catalogue.
    #[error("{} is not a catalogue", .0.display())]
    Parse(PathBuf, #[source] toml::de::Error),
    /// A published catalogue is not what the file says.
    #[error("catalogue {0} was published with other products")]
    Changed(i32),
    /// A catalogue cannot be in force as it says.
    #[error("catalogue {0}: {1}")]
    Invalid(i32, &'static str),
    /// The database failed.
    #[error("cannot write the catalogues")]
    Database(#[from] sqlx::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: i32,
    effective_time: DateTime<Utc>,
    products: Vec<Product>,
}

impl App {
    /// Publishes the catalogues of a folder that are not published yet. One that was changed under
    /// its version stops the service: orders name it.
    pub async fn publish_catalogues(&self, folder: &Path) -> Result<(), CatalogueError> {
        let catalogues = read(folder)?;
        let mut tx = self.pool.begin().await?;
        products::lock_catalogues(&mut tx).await?;
        for catalogue in catalogues {
            match products::find_catalogue(&mut tx, catalogue.version).await? {
                Some(published) if published == catalogue => {}
                Some(_) => return Err(CatalogueError::Changed(catalogue.version)),
                None => products::insert_catalogue(&mut tx, &catalogue).await?,
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// What can be ordered now.
    pub async fn catalogue(&self) -> Result<Option<Catalogue>, Error> {
        let mut connection = self.pool.acquire().await?;
        Ok(products::catalogue_at(&mut connection, self.now()).await?)
    }
}

fn read(folder: &Path) -> Result<Vec<Catalogue>, CatalogueError> {
    let unreadable = |error| CatalogueError::Read(folder.to_owned(), error);
    let mut catalogues = Vec::new();
    for file in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = file.map_err(unreadable)?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|error| CatalogueError::Read(path.clone(), error))?;
        let file: File =
            toml::from_str(&text).map_err(|error| CatalogueError::Parse(path.clone(), error))?;
        let catalogue = Catalogue {
            version: file.version,
            effective_at: file.effective_time,
            products: file.products,
        };
        if let Some(problem) = catalogue.problem() {
            return Err(CatalogueError::Invalid(catalogue.version, problem));
        }
        catalogues.push(catalogue);
    }
    catalogues.sort_by_key(|catalogue| catalogue.version);
    for (before, catalogue) in catalogues.iter().zip(catalogues.iter().skip(1)) {
        if before.version == catalogue.version || before.effective_at >= catalogue.effective_at {
            let what = "a later version has another number and starts later";
            return Err(CatalogueError::Invalid(catalogue.version, what));
        }
    }
    Ok(catalogues)
}
