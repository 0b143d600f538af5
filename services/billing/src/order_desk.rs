//! What goes onto fapiao and parcels, what people ask about them, and which enterprises want to use the
//! brand. It has keys of its own, because it alone holds who buys and who receives.

mod after_sales;
mod brand;
mod buyer;
mod decide_invoice;
mod product_orders;
mod request_invoice;

use std::sync::Arc;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use wanwu_clock::SharedEntropy;
use wanwu_ids::{AccountId, OperatorId};
use wanwu_personal::{Aad, KeyProvider, SubjectKeys};
use wanwu_postgres::page::{Page, PageRequest};

pub use after_sales::{About, OpenCase, OpenedCase};
pub use brand::overdue as overdue_brand_applications;
pub use brand::{AnswerBrand, ApplyForBrand, Enterprise, OpenedApplication};
pub use buyer::Buyer;
pub use product_orders::{CreateProductOrder, ProductOrder, Recipient};
pub use request_invoice::RequestInvoice;

use crate::{
    app::App,
    error::Error,
    store::invoices::{self, Invoice},
};

/// Takes orders of products, requests for fapiao and questions about purchases.
pub struct OrderDesk {
    pub(crate) app: Arc<App>,
    keys: SubjectKeys,
}

impl OrderDesk {
    /// A desk of this service.
    #[must_use]
    pub fn new(
        app: Arc<App>,
        pool: PgPool,
        provider: Arc<KeyProvider>,
        entropy: SharedEntropy,
    ) -> Self {
        Self {
            app,
            keys: SubjectKeys::new(pool, provider, entropy),
        }
    }

    /// The account's invoices, newest first.
    pub async fn invoices(
        &self,
        account_id: AccountId,
        page: &PageRequest<Uuid>,
    ) -> Result<Page<Invoice>, Error> {
        let mut connection = self.app.pool.acquire().await?;
        let rows = invoices::list(&mut connection, account_id, page.after, page.limit()).await?;
        Ok(page.page(rows, |invoice| invoice.invoice_id))
    }

    /// What finance has to do, oldest first.
    pub async fn open_invoices(&self, page: &PageRequest<Uuid>) -> Result<Page<Invoice>, Error> {
        let mut connection = self.app.pool.acquire().await?;
        let rows = invoices::open(&mut connection, page.after, page.limit()).await?;
        Ok(page.page(rows, |invoice| invoice.invoice_id))
    }

    /// What goes onto a fapiao; who looks is written down first.
    pub async fn invoice_buyer(&self, operator_id: OperatorId, id: Uuid) -> Result<Buyer, Error> {
        let mut tx = self.app.pool.begin().await?;
        let invoice = invoices::find(&mut tx, id).await?;
        let invoice = invoice.ok_or(Error::NotFound)?;
        self.app
            .note_access(&mut tx, operator_id, "invoice_buyer", id.to_string())
            .await?;
        let text = self
            .open(
                &mut tx,
                invoice.account_id,
                aad("invoices", "buyer", &id.to_string()),
                &invoice.buyer_sealed,
            )
            .await?;
        tx.commit().await?;
        Buyer::from_stored(&text)
    }

    /// Seals a text under the account's key.
    async fn seal(
        &self,
        tx: &mut PgConnection,
        account_id: AccountId,
        aad: Aad<'_>,
        text: &str,
    ) -> Result<Vec<u8>, Error> {
        let key = self
            .keys
            .key_in(tx, account_id.uuid(), self.app.now())
            .await;
        let key = key.map_err(|error| Error::Personal(error.into()))?;
        key.seal(aad, text.as_bytes())
            .map_err(|error| Error::Personal(error.into()))
    }

    async fn open(
        &self,
        tx: &mut PgConnection,
        account_id: AccountId,
        aad: Aad<'_>,
        sealed: &[u8],
    ) -> Result<String, Error> {
        let key = self.keys.existing_in(tx, account_id.uuid()).await;
        let key = key.map_err(|error| Error::Personal(error.into()))?;
        let text = key.open_text(aad, sealed);
        let text = text.map_err(|error| Error::Personal(error.into()))?;
        Ok(text.to_string())
    }
}

const fn aad<'a>(table: &'a str, column: &'a str, row: &'a str) -> Aad<'a> {
    Aad { table, column, row }
}
