use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, types::Json};
use wanwu_ids::{OperatorId, OrderId};

use crate::domain::product::{Catalogue, Fulfilment, Product};

#[derive(FromRow)]
struct CatalogueRow {
    version: i32,
    effective_at: DateTime<Utc>,
    products: Json<Vec<Product>>,
}

impl From<CatalogueRow> for Catalogue {
    fn from(row: CatalogueRow) -> Self {
        Self {
            version: row.version,
            effective_at: row.effective_at,
            products: row.products.0,
        }
    }
}

/// The catalogue with this version.
pub async fn find_catalogue(
    tx: &mut PgConnection,
    version: i32,
) -> sqlx::Result<Option<Catalogue>> {
    let row: Option<CatalogueRow> = sqlx::query_as("select * from catalogues where version = $1")
        .bind(version)
        .fetch_optional(tx)
        .await?;
    Ok(row.map(Into::into))
}

/// The catalogue in force at an instant.
pub async fn catalogue_at(
    tx: &mut PgConnection,
    instant: DateTime<Utc>,
) -> sqlx::Result<Option<Catalogue>> {
    let row: Option<CatalogueRow> = sqlx::query_as(
        "select * from catalogues where effective_at <= $1 order by effective_at desc limit 1",
    )
    .bind(instant)
    .fetch_optional(tx)
    .await?;
    Ok(row.map(Into::into))
}

/// Keeps publications apart.
pub async fn lock_catalogues(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("lock table catalogues in share row exclusive mode")
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes a catalogue that was not there.
pub async fn insert_catalogue(tx: &mut PgConnection, catalogue: &Catalogue) -> sqlx::Result<()> {
    sqlx::query("insert into catalogues (version, effective_at, products) values ($1, $2, $3)")
        .bind(catalogue.version)
        .bind(catalogue.effective_at)
        .bind(Json(&catalogue.products))
        .execute(tx)
        .await?;
    Ok(())
}

/// What an order is for.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Item {
    /// The order.
    pub order_id: OrderId,
    /// The catalogue that it was ordered from.
    pub catalogue_version: i32,
    /// The product.
    pub product_id: String,
    /// How many.
    pub quantity: i32,
    /// What one cost.
    pub unit_fen: i64,
    /// The terms that were accepted with it.
    pub addendum: String,
}

/// Writes what a new order is for.
pub async fn insert_item(tx: &mut PgConnection, item: &Item) -> sqlx::Result<()> {
    sqlx::query(
        "insert into order_items
             (order_id, catalogue_version, product_id, quantity, unit_fen, addendum)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(item.order_id)
    .bind(item.catalogue_version)
    .bind(&item.product_id)
    .bind(item.quantity)
    .bind(item.unit_fen)
    .bind(&item.addendum)
    .execute(tx)
    .await?;
    Ok(())
}

/// What an order is for; `None`: it is a top-up.
pub async fn find_item(tx: &mut PgConnection, id: OrderId) -> sqlx::Result<Option<Item>> {
    sqlx::query_as("select * from order_items where order_id = $1")
        .bind(id)
        .fetch_optional(tx)
        .await
}

/// How far a product order is, and who receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The order.
    pub order_id: OrderId,
    /// How far.
    pub state: Fulfilment,
    /// The parcel's number.
    pub tracking: String,
    /// Name, phone and address, sealed; `None`: nothing is delivered.
    pub recipient: Option<[Vec<u8>; 3]>,
    /// When it changed.
    pub changed_at: DateTime<Utc>,
    /// Who changed it.
    pub changed_by: Option<OperatorId>,
}

#[derive(FromRow)]
struct DeliveryRow {
    order_id: OrderId,
    state: String,
    tracking: String,
    recipient_sealed: Option<Vec<u8>>,
    phone_sealed: Option<Vec<u8>>,
    address_sealed: Option<Vec<u8>>,
    changed_at: DateTime<Utc>,
    changed_by: Option<OperatorId>,
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = sqlx::Error;

    fn try_from(row: DeliveryRow) -> sqlx::Result<Self> {
        let sealed = row.recipient_sealed.zip(row.phone_sealed);
        let sealed = sealed.zip(row.address_sealed);
        Ok(Self {
            order_id: row.order_id,
            state: Fulfilment::from_stored(&row.state)
                .ok_or_else(|| sqlx::Error::Decode("unknown state of a delivery".into()))?,
            tracking: row.tracking,
            recipient: sealed.map(|((name, phone), address)| [name, phone, address]),
            changed_at: row.changed_at,
            changed_by: row.changed_by,
        })
    }
}

/// Writes a new one.
pub async fn insert_delivery(tx: &mut PgConnection, delivery: &Delivery) -> sqlx::Result<()> {
    let sealed = |place: usize| delivery.recipient.as_ref().map(|sealed| &sealed[place]);
    sqlx::query(
        "insert into fulfilments
             (order_id, state, recipient_sealed, phone_sealed, address_sealed, changed_at)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(delivery.order_id)
    .bind(delivery.state.as_str())
    .bind(sealed(0))
    .bind(sealed(1))
    .bind(sealed(2))
    .bind(delivery.changed_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The one of an order. Whoever changes it holds the order.
pub async fn find_delivery(tx: &mut PgConnection, id: OrderId) -> sqlx::Result<Option<Delivery>> {
    let row: Option<DeliveryRow> = sqlx::query_as("select * from fulfilments where order_id = $1")
        .bind(id)
        .fetch_optional(tx)
        .await?;
    row.map(TryInto::try_into).transpose()
}

/// Writes how far one is.
pub async fn save_delivery(tx: &mut PgConnection, delivery: &Delivery) -> sqlx::Result<()> {
    sqlx::query(
        "update fulfilments set state = $2, tracking = $3, changed_at = $4, changed_by = $5
         where order_id = $1",
    )
    .bind(delivery.order_id)
    .bind(delivery.state.as_str())
    .bind(&delivery.tracking)
    .bind(delivery.changed_at)
    .bind(delivery.changed_by)
    .execute(tx)
    .await?;
    Ok(())
}
