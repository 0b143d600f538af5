use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::PgConnection;
use wanwu_proto::billing::v1::PriceListPublished;
use wanwu_tariff::{Prices, Unit};

use crate::{app::App, convert::timestamp, domain::price::PriceList, store::prices};

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
    #[serde(default)]
    tiers: Vec<Tier>,
    prices: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tier {
    threshold_nanos: i64,
}

#[derive(Deserialize)]
struct Entry {
    model: String,
    #[serde(default)]
    tier: i32,
    /// Anything else has to be the name of a unit.
    #[serde(flatten)]
    units: BTreeMap<Unit, i64>,
}

impl TryFrom<File> for PriceList {
    type Error = PriceListError;

    fn try_from(file: File) -> Result<Self, PriceListError> {
        let invalid = |what| Err(PriceListError::Invalid(file.version, what));
        if file.version < 1 {
            return invalid("versions count from 1");
        }
        let mut list = Self {
            version: file.version,
            effective_at: file.effective_time,
            tiers: file.tiers.iter().map(|tier| tier.threshold_nanos).collect(),
            prices: BTreeMap::new(),
        };
        for entry in file.prices {
            if entry.units.values().any(|nanos| *nanos < 0) {
                return invalid("a price is below zero");
            }
            let Some(prices) = Prices::from_units(entry.units) else {
                return invalid("a model has prices for input and output tokens");
            };
            if list
                .prices
                .insert((entry.model, entry.tier), prices)
                .is_some()
            {
                return invalid("a model is priced twice");
            }
        }
        match list.check() {
            Ok(()) => Ok(list),
            Err(what) => invalid(what),
        }
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
                None if prices::is_out_of_order(&mut tx, &list).await? => {
                    let what = "a later version starts later";
                    return Err(PriceListError::Invalid(list.version, what));
                }
                None => self.publish_price_list(&mut tx, &list).await?,
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// Writes a list that was not there and tells of it.
    pub(super) async fn publish_price_list(
        &self,
        tx: &mut PgConnection,
        list: &PriceList,
    ) -> sqlx::Result<()> {
        prices::insert(tx, list).await?;
        let event = PriceListPublished {
            version: list.version,
            effective_time: Some(timestamp(list.effective_at)),
        };
        wanwu_events::publish(tx, &self.ids, &event).await?;
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
