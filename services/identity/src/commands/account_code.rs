use std::sync::Arc;

use wanwu_ids::AccountId;
use wanwu_personal::Phone;

use super::register::phone_aad;
use crate::{
    app::App,
    error::Error,
    store::{accounts, codes},
};

impl App {
    /// Sends a code for one purpose to an account's phone.
    pub async fn send_account_code(
        self: &Arc<Self>,
        account_id: AccountId,
        purpose: &str,
    ) -> Result<i32, Error> {
        let phone = self.phone_of(account_id).await?;
        self.send_code(phone, purpose, "").await
    }

    /// Uses up a code that was sent for one purpose.
    pub async fn check_account_code(
        &self,
        account_id: AccountId,
        purpose: &str,
        typed: &str,
    ) -> Result<(), Error> {
        let phone = self.phone_of(account_id).await?;
        let code_id = self.compare_code(&phone, purpose, typed).await?;
        let mut connection = self.pool.acquire().await?;
        if codes::use_up(&mut connection, code_id, self.clock.now()).await? {
            Ok(())
        } else {
            Err(Error::CodeInvalid)
        }
    }

    /// An account's number.
    pub(super) async fn phone_of(&self, account_id: AccountId) -> Result<Phone, Error> {
        let mut connection = self.pool.acquire().await?;
        let sealed = accounts::sealed_phone(&mut connection, account_id)
            .await?
            .ok_or(Error::NotFound)?;
        drop(connection);
        let key = self.keys.existing(account_id.uuid()).await?;
        let text = key.open_text(phone_aad(&account_id.to_string()), &sealed)?;
        Phone::parse(&text).map_err(|_| Error::Secret("the stored number"))
    }
}
