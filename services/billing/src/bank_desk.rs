//! Top-ups by bank transfer: what customers declare, what the bank's statements prove, and how the
//! two come together. It has keys of its own, because it alone holds account numbers.

mod declare;
mod import;
mod match_line;

use std::sync::Arc;

use sqlx::PgPool;
use uuid::Uuid;
use wanwu_clock::SharedEntropy;
use wanwu_ids::AccountId;
use wanwu_personal::{BlindIndex, KeyProvider, SubjectKeys};
use wanwu_postgres::page::{Page, PageRequest};

pub use declare::Declare;
pub use import::Imported;

use crate::{
    app::App,
    error::Error,
    store::{
        bank_lines::{self, BankLine},
        bank_transfers::{self, BankTransfer},
    },
};

/// Takes declarations and statements.
pub struct BankDesk {
    pub(crate) app: Arc<App>,
    keys: SubjectKeys,
    /// Of account numbers, and of what the bank says under a serial number.
    index: BlindIndex,
}

impl BankDesk {
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
            index: BlindIndex::new(&provider, "billing.bank_transfers"),
            keys: SubjectKeys::new(pool, provider, entropy),
        }
    }

    /// The account's declarations, newest first.
    pub async fn transfers(
        &self,
        account_id: AccountId,
        page: &PageRequest<Uuid>,
    ) -> Result<Page<BankTransfer>, Error> {
        let mut connection = self.app.pool.acquire().await?;
        let rows =
            bank_transfers::list(&mut connection, account_id, page.after, page.limit()).await?;
        Ok(page.page(rows, |transfer| transfer.bank_transfer_id))
    }

    /// Lines with money that is nobody's, oldest first.
    pub async fn unmatched(&self, page: &PageRequest<Uuid>) -> Result<Page<BankLine>, Error> {
        let mut connection = self.app.pool.acquire().await?;
        let rows = bank_lines::unmatched(&mut connection, page.after, page.limit()).await?;
        Ok(page.page(rows, |line| line.bank_line_id))
    }
}
