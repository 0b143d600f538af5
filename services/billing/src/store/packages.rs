use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::{AccountId, LeaseId, OperatorId, OrderId};

use crate::domain::{
    funding::Funding,
    package::{Offer, PackageId, Product},
};

/// A package of an account.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Package {
    /// The package.
    pub package_id: PackageId,
    /// Whose.
    pub account_id: AccountId,
    /// Its product.
    pub product: String,
    /// Of a free quota: which one.
    pub period: Option<String>,
    /// The order that paid for it.
    pub order_id: Option<OrderId>,
    /// The operator who gave it.
    pub granted_by: Option<OperatorId>,
    /// What it was worth, in 10^-9 CNY.
    pub credit_nanos: i64,
    /// What is free of it.
    pub left_nanos: i64,
    /// For calls of these models; `None`: of all.
    pub models: Option<Vec<String>>,
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// When it is over.
    pub expires_at: DateTime<Utc>,
}

/// What a lease holds of one package.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct LeasePackage {
    /// The cause of its transfers.
    pub lease_package_id: Uuid,
    /// The package.
    pub package_id: PackageId,
    /// How much.
    pub amount_nanos: i64,
    /// When the package is over.
    pub expires_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct ProductRow {
    product: String,
    offer: String,
    price_fen: i64,
    credit_nanos: i64,
    models: Option<Vec<String>>,
    days: Option<i32>,
}

impl TryFrom<ProductRow> for Product {
    type Error = sqlx::Error;

    fn try_from(row: ProductRow) -> sqlx::Result<Self> {
        let offer = Offer::from_stored(&row.offer);
        Ok(Self {
            product: row.product,
            offer: offer.ok_or_else(|| sqlx::Error::Decode("unknown offer".into()))?,
            price_fen: row.price_fen,
            credit: row.credit_nanos,
            models: row.models,
            days: row.days.and_then(|days| u16::try_from(days).ok()),
        })
    }
}

/// The product with this name.
pub async fn find_product(tx: &mut PgConnection, name: &str) -> sqlx::Result<Option<Product>> {
    let row: Option<ProductRow> = sqlx::query_as(
        "select product, offer, price_fen, credit_nanos, models, days
         from package_products where product = $1",
    )
    .bind(name)
    .fetch_optional(tx)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Publishes a product.
pub async fn insert_product(
    tx: &mut PgConnection,
    product: &Product,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into package_products (product, offer, price_fen, credit_nanos, models, days,
             published_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&product.product)
    .bind(product.offer.as_str())
    .bind(product.price_fen)
    .bind(product.credit)
    .bind(&product.models)
    .bind(product.days.map(i32::from))
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes a package of an account; `false`: the free quota of this period is there.
pub async fn insert(tx: &mut PgConnection, package: &Package) -> sqlx::Result<bool> {
    let inserted = sqlx::query(
        "insert into packages (package_id, account_id, product, period, order_id, granted_by,
             credit_nanos, left_nanos, models, began_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict on constraint packages_period_key do nothing",
    )
    .bind(package.package_id)
    .bind(package.account_id)
    .bind(&package.product)
    .bind(&package.period)
    .bind(package.order_id)
    .bind(package.granted_by)
    .bind(package.credit_nanos)
    .bind(package.left_nanos)
    .bind(&package.models)
    .bind(package.began_at)
    .bind(package.expires_at)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// The package with this id.
pub async fn find(tx: &mut PgConnection, id: PackageId) -> sqlx::Result<Option<Package>> {
    sqlx::query_as("select * from packages where package_id = $1")
        .bind(id)
        .fetch_optional(tx)
        .await
}

/// The account's packages, newest first.
pub async fn list(
    tx: &mut PgConnection,
    account_id: AccountId,
    after: Option<PackageId>,
    limit: i64,
) -> sqlx::Result<Vec<Package>> {
    sqlx::query_as(
        "select * from packages where account_id = $1 and ($2::uuid is null or package_id < $2)
         order by package_id desc limit $3",
    )
    .bind(account_id)
    .bind(after)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// The package that an order paid for, locked until the transaction ends.
pub async fn lock_of_order(
    tx: &mut PgConnection,
    order_id: OrderId,
) -> sqlx::Result<Option<Package>> {
    sqlx::query_as("select * from packages where order_id = $1 for update")
        .bind(order_id)
        .fetch_optional(tx)
        .await
}

/// The packages that an account bought, locked until the transaction ends.
pub async fn lock_bought(
    tx: &mut PgConnection,
    account_id: AccountId,
) -> sqlx::Result<Vec<Package>> {
    sqlx::query_as(
        "select * from packages where account_id = $1 and order_id is not null
         order by expires_at, package_id for update",
    )
    .bind(account_id)
    .fetch_all(tx)
    .await
}

/// Takes out of a package what is given back, or no more.
pub async fn take_back(tx: &mut PgConnection, id: PackageId, nanos: i64) -> sqlx::Result<()> {
    sqlx::query("update packages set left_nanos = left_nanos - $2 where package_id = $1")
        .bind(id)
        .bind(nanos)
        .execute(tx)
        .await?;
    Ok(())
}

/// What is free in packages that are not over.
pub async fn free(
    tx: &mut PgConnection,
    account_id: AccountId,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select coalesce(sum(left_nanos), 0)::bigint from packages
         where account_id = $1 and expires_at > $2",
    )
    .bind(account_id)
    .bind(now)
    .fetch_one(tx)
    .await
}

/// Which free quotas of these (product, period) the account has not had yet.
pub async fn not_had(
    tx: &mut PgConnection,
    account_id: AccountId,
    quotas: &[(String, String)],
) -> sqlx::Result<Vec<String>> {
    let (products, periods): (Vec<_>, Vec<_>) = quotas.iter().cloned().unzip();
    sqlx::query_scalar(
        "select q.product from unnest($2::text[], $3::text[]) as q (product, period)
         where not exists (select from packages p where p.account_id = $1
             and p.product = q.product and p.period = q.period)",
    )
    .bind(account_id)
    .bind(products)
    .bind(periods)
    .fetch_all(tx)
    .await
}

/// What pays for calls of a model now, the one that ends first before the others: id, what is
/// free of it, and whether it is for some models only. Locked until the transaction ends.
pub async fn lock_usable(
    tx: &mut PgConnection,
    account_id: AccountId,
    model: &str,
    now: DateTime<Utc>,
    most: i64,
) -> sqlx::Result<Vec<(Uuid, i64, bool)>> {
    sqlx::query_as(
        "select package_id, left_nanos, models is not null from packages
         where account_id = $1 and left_nanos > 0 and expires_at > $3
           and (models is null or $2 = any (models))
         order by expires_at, package_id limit $4 for update",
    )
    .bind(account_id)
    .bind(model)
    .bind(now)
    .bind(most)
    .fetch_all(tx)
    .await
}

/// Whether a package of the account is for some models only and not over.
pub async fn any_narrow(
    tx: &mut PgConnection,
    account_id: AccountId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from packages
             where account_id = $1 and models is not null and expires_at > $2)",
    )
    .bind(account_id)
    .bind(now)
    .fetch_one(tx)
    .await
}

/// Takes a lease's parts out of the packages that the transaction holds. Answers the parts' ids, in
/// their order.
pub async fn lend(
    tx: &mut PgConnection,
    lease_id: LeaseId,
    funding: &Funding,
    new_id: impl Fn() -> Uuid,
) -> sqlx::Result<Vec<(Uuid, i64)>> {
    let mut parts = Vec::new();
    for (place, (package_id, nanos)) in (0_i16..).zip(&funding.packages) {
        let part = new_id();
        sqlx::query("update packages set left_nanos = left_nanos - $2 where package_id = $1")
            .bind(package_id)
            .bind(nanos)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "insert into lease_packages (lease_package_id, lease_id, place, package_id, amount_nanos)
             values ($1, $2, $3, $4, $5)",
        )
        .bind(part)
        .bind(lease_id)
        .bind(place)
        .bind(package_id)
        .bind(nanos)
        .execute(&mut *tx)
        .await?;
        parts.push((part, *nanos));
    }
    Ok(parts)
}

/// A lease's parts, in their order; their packages are locked until the transaction ends.
pub async fn lock_parts(
    tx: &mut PgConnection,
    lease_id: LeaseId,
) -> sqlx::Result<Vec<LeasePackage>> {
    sqlx::query_as(
        "select l.lease_package_id, l.package_id, l.amount_nanos, p.expires_at
         from lease_packages l join packages p using (package_id)
         where l.lease_id = $1 order by l.place for update of p",
    )
    .bind(lease_id)
    .fetch_all(tx)
    .await
}

/// Gives a package back what a lease did not spend.
pub async fn give_back(tx: &mut PgConnection, id: PackageId, nanos: i64) -> sqlx::Result<()> {
    sqlx::query("update packages set left_nanos = left_nanos + $2 where package_id = $1")
        .bind(id)
        .bind(nanos)
        .execute(tx)
        .await?;
    Ok(())
}

/// Takes out what is left of packages that are over, some at a time: id, account and how much.
pub async fn take_expired(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    most: i64,
) -> sqlx::Result<Vec<(PackageId, AccountId, i64)>> {
    sqlx::query_as(
        "with over as (
             select package_id, account_id, left_nanos from packages
             where left_nanos > 0 and expires_at <= $1
             order by expires_at limit $2 for update skip locked
         ), emptied as (
             update packages p set left_nanos = 0 from over where p.package_id = over.package_id
         )
         select package_id, account_id, left_nanos from over",
    )
    .bind(now)
    .bind(most)
    .fetch_all(tx)
    .await
}
