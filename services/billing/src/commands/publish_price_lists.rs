use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use serde::Deserialize;
use wanwu_proto::billing::v1::PriceListPublished;

use crate::{
    app::App,
    domain::price::{PriceList, Unit},
    store::prices,
};

/// The price lists cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PriceListError {
    /// A file is absent or no text.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// A file is no price list.
    #[error("{} is not a price list", .0.display())]
    Parse(PathBuf, #[source] toml::de::Error),
    /// A published list is not what the file says.
    #[error("price list {0} was published with other prices")]
    Changed(i32),
    /// The database failed.
    #[error("cannot write the price lists")]
    Database(#[from] sqlx::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: i32,
    effective_time: DateTime<Utc>,
    prices: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    model: String,
    input_token: i64,
    output_token: i64,
}

impl From<File> for PriceList {
    fn from(file: File) -> Self {
        let mut prices = BTreeMap::new();
        for entry in file.prices {
            prices.insert((entry.model.clone(), Unit::InputToken), entry.input_token);
            prices.insert((entry.model, Unit::OutputToken), entry.output_token);
        }
        Self {
            version: file.version,
            effective_at: file.effective_time,
            prices,
        }
    }
}

impl App {
    /// Publishes the lists of a folder that are not published yet. A list that was changed under
    /// its version stops the service: calls were billed at it (obligation T3.3.2a).
    pub async fn publish_price_lists(&self, folder: &Path) -> Result<(), PriceListError> {
        let mut lists = read(folder)?;
        lists.sort_by_key(|list| list.version);
        let mut tx = self.pool.begin().await?;
        prices::lock(&mut tx).await?;
        for list in lists {
            match prices::find(&mut tx, list.version).await? {
                Some(published) if published == list => {}
                Some(_) => return Err(PriceListError::Changed(list.version)),
                None => {
                    prices::insert(&mut tx, &list).await?;
                    let event = PriceListPublished {
                        version: list.version,
                        effective_time: Some(Timestamp {
                            seconds: list.effective_at.timestamp(),
                            nanos: 0,
                        }),
                    };
                    wanwu_events::publish(&mut tx, &self.ids, &event).await?;
                }
            }
        }
        tx.commit().await?;
        Ok(())
    }
}

fn read(folder: &Path) -> Result<Vec<PriceList>, PriceListError> {
    let unreadable = |error| PriceListError::Read(folder.to_owned(), error);
    let mut lists = Vec::new();
    for file in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = file.map_err(unreadable)?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|error| PriceListError::Read(path.clone(), error))?;
        let file: File =
            toml::from_str(&text).map_err(|error| PriceListError::Parse(path.clone(), error))?;
        lists.push(file.into());
    }
    Ok(lists)
}
