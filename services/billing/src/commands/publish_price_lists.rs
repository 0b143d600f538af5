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
    /// A list cannot be in force as it says.
    #[error("price list {0}: {1}")]
    Invalid(i32, &'static str),
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

impl TryFrom<File> for PriceList {
    type Error = PriceListError;

    fn try_from(file: File) -> Result<Self, PriceListError> {
        let invalid = |what| Err(PriceListError::Invalid(file.version, what));
        if file.version < 1 {
            return invalid("versions count from 1");
        }
        if file.effective_time.timestamp_subsec_nanos() != 0 {
            return invalid("the start is a whole second");
        }
        let mut prices = BTreeMap::new();
        for entry in file.prices {
            if entry.model.is_empty() || entry.input_token < 0 || entry.output_token < 0 {
                return invalid("a price has no model, or is below zero");
            }
            let model = entry.model;
            prices.insert((model.clone(), Unit::InputToken), entry.input_token);
            let before = prices.insert((model, Unit::OutputToken), entry.output_token);
            if before.is_some() {
                return invalid("a model is priced twice");
            }
        }
        Ok(Self {
            version: file.version,
            effective_at: file.effective_time,
            prices,
        })
    }
}

impl App {
    /// Publishes the lists of a folder that are not published yet. A list that was changed under
    /// its version stops the service: calls were billed at it (obligation T3.3.2a).
    pub async fn publish_price_lists(&self, folder: &Path) -> Result<(), PriceListError> {
        let lists = read(folder)?;
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
        lists.push(PriceList::try_from(file)?);
    }
    lists.sort_by_key(|list| list.version);
    for (before, list) in lists.iter().zip(lists.iter().skip(1)) {
        if before.version == list.version {
            return Err(PriceListError::Invalid(
                list.version,
                "two files have this version",
            ));
        }
        if before.effective_at >= list.effective_at {
            let what = "a later version starts later";
            return Err(PriceListError::Invalid(list.version, what));
        }
    }
    Ok(lists)
}
