use super::open_session::Tokens;
use crate::{
    app::App,
    domain::credential::{Kind, Presented},
    error::Error,
    store::{grants, sessions},
};

impl App {
    /// Changes a refresh token for new tokens. One that was used before is in two hands: its whole
    /// family ends.
    pub async fn refresh_session(&self, token: &str) -> Result<Tokens, Error> {
        let presented = Presented::parse(Kind::Refresh, token).ok_or(Error::InvalidCredential)?;
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let stored = sessions::lock_refresh_token(&mut tx, presented.id)
            .await?
            .filter(|stored| presented.matches(&stored.secret_hash))
            .ok_or(Error::InvalidCredential)?;
        if stored.used_at.is_some() {
            sessions::end(&mut tx, stored.session_id, now).await?;
            grants::revoke_session(&mut tx, stored.session_id).await?;
            tx.commit().await?;
            metrics::counter!("wanwu_refresh_reuse_total").increment(1);
            return Err(Error::InvalidCredential);
        }
        if stored.ended_at.is_some() || stored.expires_at <= now {
            return Err(Error::InvalidCredential);
        }
        sessions::use_refresh_token(&mut tx, presented.id, now).await?;
        let tokens = self
            .make_tokens(&mut tx, stored.account_id, stored.session_id)
            .await?;
        tx.commit().await?;
        Ok(tokens)
    }
}
