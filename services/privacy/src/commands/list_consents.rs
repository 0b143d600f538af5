use uuid::Uuid;
use wanwu_ids::AccountId;
use wanwu_postgres::page::{Page, PageRequest};

use crate::{
    app::App,
    error::Error,
    store::consents::{self, Consent},
};

impl App {
    /// The account's consents, newest first.
    pub async fn list_consents(
        &self,
        account_id: AccountId,
        page: &PageRequest<Uuid>,
    ) -> Result<Page<Consent>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows = consents::list(&mut connection, account_id, page.after, page.limit()).await?;
        Ok(page.page(rows, |consent| consent.consent_id.uuid()))
    }
}
