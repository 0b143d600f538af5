use std::collections::HashMap;

use wanwu_ids::AccountId;

use crate::{app::App, error::Error};

impl App {
    /// Tells a person something by a template. Outside of any transaction: it may be told twice
    /// after a crash, never not at all.
    pub async fn send_notification(
        &self,
        account_id: AccountId,
        template: &str,
        params: &HashMap<String, String>,
    ) -> Result<(), Error> {
        let template = self.template(template)?;
        let phone = self.phone_of(account_id).await?;
        self.sms.send(&phone, template, params).await?;
        Ok(())
    }
}
