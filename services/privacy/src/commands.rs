//! What privacy does: one use case a file. A command opens the transaction, lets the domain
//! decide, saves, writes the event and commits.

mod accept_agreements;
mod allow_purchases;
mod confirm_guardian_consent;
mod give_consent;
mod list_consents;
mod publish_agreement;
mod publish_catalogue;
mod read_agreements;
mod start_guardian_consent;
mod use_consent;
mod withdraw_consent;
mod withdraw_guardian_consent;

pub use confirm_guardian_consent::ConfirmGuardianConsent;
pub use give_consent::GiveConsent;
pub use publish_agreement::PublishAgreement;
pub use publish_catalogue::CatalogueError;
pub use start_guardian_consent::StartGuardianConsent;
pub use use_consent::UseConsent;

use sqlx::PgConnection;
use wanwu_ids::AccountId;
use wanwu_proto::privacy::v1::ConsentChanged;

use crate::{
    app::App,
    error::Error,
    store::gates::{self, Change},
};

impl App {
    /// Changes an account's gate and tells it: the watch finds the row, the event repairs.
    async fn change_gate(
        &self,
        tx: &mut PgConnection,
        account_id: AccountId,
        change: Change,
    ) -> Result<(), Error> {
        gates::touch(tx, account_id, change).await?;
        let gate = gates::get(tx, account_id, self.clock.now()).await?;
        let event = ConsentChanged {
            account_id: account_id.to_string(),
            version: gate.version,
            agreements_current: gate.agreements_current,
            core_consent: gate.core_consent,
            guardian_consent: gate.guardian_consent,
        };
        wanwu_events::publish(tx, &self.ids, &event).await?;
        Ok(())
    }
}
