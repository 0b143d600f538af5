use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{
    app::App,
    domain::package::{Offer, Product},
    store::{packages, prices},
};

/// Most products.
const MAX_PRODUCTS: usize = 100;

/// The products cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The file is absent or no text.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// The file is not of products.
    #[error("{} is not a file of packages", .0.display())]
    Parse(PathBuf, #[source] toml::de::Error),
    /// A published product is not what the file says.
    #[error("package {0} was published with other content")]
    Changed(String),
    /// A product cannot be as it says.
    #[error("package {0}: {1}")]
    Invalid(String, &'static str),
    /// The database failed.
    #[error("cannot write the packages")]
    Database(#[from] sqlx::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    packages: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    product: String,
    offer: Offer,
    #[serde(default)]
    price_fen: i64,
    credit_nanos: i64,
    models: Option<Vec<String>>,
    days: Option<u16>,
}

impl From<Entry> for Product {
    fn from(entry: Entry) -> Self {
        Self {
            product: entry.product,
            offer: entry.offer,
            price_fen: entry.price_fen,
            credit: entry.credit_nanos,
            models: entry.models,
            days: entry.days,
        }
    }
}

impl App {
    /// Publishes the products of a file that are not published yet, and keeps what can be had; an
    /// empty path: nothing can. A product that was changed under its name stops the service:
    /// people bought it.
    pub async fn publish_packages(&self, file: &Path) -> Result<(), PackageError> {
        let products = match file.as_os_str().is_empty() {
            true => Vec::new(),
            false => read(file)?,
        };
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        prices::lock(&mut tx).await?;
        for product in &products {
            match packages::find_product(&mut tx, &product.product).await? {
                Some(published) if published == *product => {}
                Some(_) => return Err(PackageError::Changed(product.product.clone())),
                None => packages::insert_product(&mut tx, product, now).await?,
            }
        }
        tx.commit().await?;
        *self.products.write() = products;
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<Product>, PackageError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| PackageError::Read(path.to_owned(), error))?;
    let file: File =
        toml::from_str(&text).map_err(|error| PackageError::Parse(path.to_owned(), error))?;
    let mut products: Vec<_> = file.packages.into_iter().map(Product::from).collect();
    products.sort_by(|one, other| one.product.cmp(&other.product));
    for product in &products {
        if let Some(problem) = product.problem() {
            return Err(PackageError::Invalid(product.product.clone(), problem));
        }
    }
    for (one, other) in products.iter().zip(products.iter().skip(1)) {
        if one.product == other.product {
            let what = "two products have this name";
            return Err(PackageError::Invalid(one.product.clone(), what));
        }
    }
    if products.len() > MAX_PRODUCTS {
        let what = "there are more than 100 products";
        return Err(PackageError::Invalid(
            products[MAX_PRODUCTS].product.clone(),
            what,
        ));
    }
    Ok(products)
}
