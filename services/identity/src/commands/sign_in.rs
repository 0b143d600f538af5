use wanwu_ids::{AccountId, SessionId};
use wanwu_personal::Phone;

use super::open_session::Tokens;
use crate::{
    app::App,
    domain::code::SIGN_IN,
    error::Error,
    store::{accounts, codes, grants, sessions},
};

impl App {
    /// Signs a proved number in. Only who has the right code learns whether the number has an
    /// account; the code stays usable then.
    pub async fn sign_in(&self, phone: &Phone, typed: &str) -> Result<(AccountId, Tokens), Error> {
        let code_id = self.compare_code(phone, SIGN_IN, typed).await?;
        let mut tx = self.pool.begin().await?;
        let macs = self.phones.macs(phone.expose());
        let account_id = accounts::find_by_phone(&mut tx, &macs)
            .await?
            .ok_or(Error::NotRegistered)?;
        if !codes::use_up(&mut tx, code_id, self.clock.now()).await? {
            return Err(Error::CodeInvalid);
        }
        let tokens = self.open_session(&mut tx, account_id).await?;
        tx.commit().await?;
        Ok((account_id, tokens))
    }

    /// Ends a session: its tokens are refused within a second (obligation T2.2.4a).
    pub async fn sign_out(&self, session_id: SessionId) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        sessions::end(&mut tx, session_id, self.clock.now()).await?;
        grants::revoke_session(&mut tx, session_id).await?;
        tx.commit().await?;
        Ok(())
    }
}
