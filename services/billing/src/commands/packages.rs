use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Uuid};
use wanwu_ids::{AccountId, OperatorId, OrderId, RequestId};
use wanwu_postgres::{
    page::{Page, PageRequest},
    requests::{self, BodyMac, Claim, RequestKey},
};

use crate::{
    app::App,
    domain::{
        calendar,
        ledger::LedgerAccount,
        package::{Offer, PackageId, Product},
        package_booking,
    },
    error::Error,
    store::{
        ledger::{self, Posting},
        packages::{self, Package},
        recalls,
    },
};

/// Packages that are over and are looked at together.
const AT_ONCE: i64 = 100;

/// An operator gives an account a package.
pub struct GrantPackage {
    /// Who.
    pub operator_id: OperatorId,
    /// Names the request, for ever.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// To whom.
    pub account_id: AccountId,
    /// What.
    pub product: String,
}

/// Where a package comes from; exactly one is there.
#[derive(Default)]
struct Origin {
    period: Option<String>,
    order_id: Option<OrderId>,
    granted_by: Option<OperatorId>,
}

impl App {
    /// Gives an account a package for nothing.
    pub async fn grant_package(&self, command: GrantPackage) -> Result<Package, Error> {
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        let product = packages::find_product(&mut tx, &command.product).await?;
        let product = product.ok_or(Error::NotFound)?;
        if product.offer == Offer::Sold {
            return Err(Error::invalid("product", "is sold"));
        }
        let origin = Origin {
            granted_by: Some(command.operator_id),
            ..Origin::default()
        };
        let package = self.package(command.account_id, &product, origin, now);
        let caller = format!("operator:{}", command.operator_id);
        let key = RequestKey {
            method: "wanwu.billing.v1.PackageService/GrantPackage",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        let object_id: Uuid = package.package_id.uuid();
        if let Claim::Repeated(made) =
            requests::claim(&mut tx, key, command.body, object_id, now, None).await?
        {
            return packages::find(&mut tx, PackageId::from_uuid(made))
                .await?
                .ok_or(Error::NotFound);
        }
        self.begin_package(&mut tx, &package, None, now).await?;
        tx.commit().await?;
        self.tell_changed(command.account_id);
        Ok(package)
    }

    /// An order of a package was paid: what was paid and what it is worth more are credited to it.
    pub(super) async fn sell_package(
        &self,
        tx: &mut PgConnection,
        (order_id, account_id): (OrderId, AccountId),
        product: &str,
        cash: LedgerAccount,
        now: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        // The foreign key of the order holds it.
        let product = packages::find_product(tx, product).await?;
        let product = product.ok_or(sqlx::Error::RowNotFound)?;
        let origin = Origin {
            order_id: Some(order_id),
            ..Origin::default()
        };
        let package = self.package(account_id, &product, origin, now);
        let paid = (cash, product.price());
        self.begin_package(tx, &package, Some(paid), now).await?;
        Ok(())
    }

    /// Gives an account the free quotas that it has not had yet in their period: once, by the
    /// database's key, however many ask at once.
    pub(super) async fn give_free_quotas(&self, account_id: AccountId) -> Result<(), Error> {
        let now = self.now();
        let today = calendar::day(now);
        let quotas: Vec<(Product, String)> = self
            .products
            .read()
            .iter()
            .filter_map(|product| Some((product.clone(), product.offer.period(today)?)))
            .collect();
        if quotas.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = quotas
            .iter()
            .map(|(product, period)| (product.product.clone(), period.clone()))
            .collect();
        let mut connection = self.pool.acquire().await?;
        let due = packages::not_had(&mut connection, account_id, &names).await?;
        drop(connection);
        for (product, period) in quotas {
            if !due.contains(&product.product) {
                continue;
            }
            let mut tx = self.pool.begin().await?;
            let origin = Origin {
                period: Some(period),
                ..Origin::default()
            };
            let package = self.package(account_id, &product, origin, now);
            if self.begin_package(&mut tx, &package, None, now).await? {
                tx.commit().await?;
                self.tell_changed(account_id);
            }
        }
        Ok(())
    }

    fn package(
        &self,
        account_id: AccountId,
        product: &Product,
        origin: Origin,
        now: DateTime<Utc>,
    ) -> Package {
        Package {
            package_id: self.ids.id(),
            account_id,
            product: product.product.clone(),
            period: origin.period,
            order_id: origin.order_id,
            granted_by: origin.granted_by,
            credit_nanos: product.credit,
            left_nanos: product.credit,
            models: product.models.clone(),
            began_at: now,
            expires_at: product.expires_at(now),
        }
    }

    /// Writes a package, books it and calls the account's leases back; `false`: the free quota was
    /// there.
    async fn begin_package(
        &self,
        tx: &mut PgConnection,
        package: &Package,
        paid: Option<(LedgerAccount, i64)>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<bool> {
        if !packages::insert(tx, package).await? {
            return Ok(false);
        }
        let account_id = package.account_id;
        let posting = |movement| Posting {
            movement,
            cause_id: package.package_id.uuid(),
        };
        let paid_nanos = paid.map_or(0, |(_, nanos)| nanos);
        let discount = package.credit_nanos - paid_nanos;
        let mut postings = vec![posting(package_booking::discount(account_id, discount))];
        postings.extend(
            paid.map(|(cash, nanos)| posting(package_booking::sale(cash, account_id, nanos))),
        );
        ledger::book(tx, &self.ids, &postings, now).await?;
        recalls::change(tx, account_id).await?;
        Ok(true)
    }

    /// Books what is left of packages that are over; answers how many there were.
    pub async fn expire_packages(&self) -> Result<usize, Error> {
        let mut expired = 0;
        loop {
            let now = self.now();
            let mut tx = self.pool.begin().await?;
            let over = packages::take_expired(&mut tx, now, AT_ONCE).await?;
            let postings: Vec<_> = over
                .iter()
                .map(|(package_id, account_id, nanos)| Posting {
                    movement: package_booking::expire(*account_id, *nanos),
                    cause_id: package_id.uuid(),
                })
                .collect();
            ledger::book(&mut tx, &self.ids, &postings, now).await?;
            tx.commit().await?;
            expired += over.len();
            if over.is_empty() {
                return Ok(expired);
            }
        }
    }

    /// The account's packages, newest first.
    pub async fn packages(
        &self,
        account_id: AccountId,
        page: &PageRequest<PackageId>,
    ) -> Result<Page<Package>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows = packages::list(&mut connection, account_id, page.after, page.limit()).await?;
        Ok(page.page(rows, |package| package.package_id))
    }
}
