use chrono::{DateTime, Duration, Utc};
use sqlx::PgConnection;
use wanwu_ids::{AccountId, CredentialId, SessionId};
use wanwu_proto::access::v1::{AccountSubject, Principal, principal::Subject};

use crate::{
    app::App,
    domain::credential::{Credential, Kind},
    store::{
        grants::{self, NewGrant},
        sessions,
    },
};

/// How long an access token lives.
const ACCESS_LIFETIME: Duration = Duration::minutes(10);
/// How long a refresh token lives.
const REFRESH_LIFETIME: Duration = Duration::days(30);

/// The tokens of a session.
pub struct Tokens {
    /// For calls.
    pub access: String,
    /// For new tokens.
    pub refresh: String,
    /// When the access token ends.
    pub access_expires_at: DateTime<Utc>,
}

impl App {
    /// Opens a session and makes its first tokens (obligation T2.1.1b).
    pub(super) async fn open_session(
        &self,
        tx: &mut PgConnection,
        account_id: AccountId,
    ) -> sqlx::Result<Tokens> {
        let session_id: SessionId = self.ids.id();
        sessions::insert(tx, session_id, account_id, self.clock.now()).await?;
        self.make_tokens(tx, account_id, session_id).await
    }

    /// Makes tokens for a session that is open.
    pub(super) async fn make_tokens(
        &self,
        tx: &mut PgConnection,
        account_id: AccountId,
        session_id: SessionId,
    ) -> sqlx::Result<Tokens> {
        let now = self.clock.now();
        let access_id = self.ids.id::<CredentialId>().uuid();
        let access = Credential::new(Kind::Access, access_id, &*self.entropy);
        let access_expires_at = now + ACCESS_LIFETIME;
        let subject = AccountSubject {
            account_id: account_id.to_string(),
            session_id: session_id.to_string(),
        };
        let principal = Principal {
            subject: Some(Subject::Account(subject)),
            ..Principal::default()
        };
        grants::insert(
            tx,
            &NewGrant {
                credential_id: access_id,
                session_id: Some(session_id),
                secret_hash: &access.secret_hash,
                principal: &principal,
                expires_at: Some(access_expires_at),
            },
        )
        .await?;
        let refresh_id = self.ids.id::<CredentialId>().uuid();
        let refresh = Credential::new(Kind::Refresh, refresh_id, &*self.entropy);
        let ends = now + REFRESH_LIFETIME;
        sessions::insert_refresh_token(tx, refresh_id, session_id, &refresh.secret_hash, ends)
            .await?;
        Ok(Tokens {
            access: access.text,
            refresh: refresh.text,
            access_expires_at,
        })
    }
}
