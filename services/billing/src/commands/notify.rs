use sqlx::PgConnection;
use wanwu_ids::AccountId;
use wanwu_proto::identity::v1::NotificationRequested;

use crate::app::App;

impl App {
    /// Asks identity to tell an account something, when `tx` commits: a template of its `[sms.templates]`
    /// and what the template names.
    pub(crate) async fn notify<const N: usize>(
        &self,
        tx: &mut PgConnection,
        account_id: AccountId,
        template: &str,
        params: [(&str, String); N],
    ) -> sqlx::Result<()> {
        let notification = NotificationRequested {
            account_id: account_id.to_string(),
            template: template.to_owned(),
            params: params
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        };
        wanwu_events::publish(tx, &self.ids, &notification).await?;
        Ok(())
    }
}
