use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use sqlx::PgConnection;
use wanwu_ids::{AccountId, AppId, KeyId, RequestId};
use wanwu_postgres::{
    page::{Page, PageRequest},
    requests::{self, BodyMac, Claim, RequestKey},
};
use wanwu_proto::{
    access::v1::{AppKeySubject, Principal, principal::Subject},
    identity::v1::ApiKeyRevoked,
};

use crate::{
    app::App,
    domain::credential::{Credential, Kind},
    error::Error,
    store::{
        apps::{self, ApiKey},
        grants::{self, NewGrant},
    },
};

/// Live keys that an app may have.
const MAX_KEYS: i64 = 100;
/// What a key can be used for.
const SCOPES: [&str; 2] = ["chat", "embedding"];

/// The owner of an app makes a key.
pub struct CreateApiKey {
    /// The owner.
    pub account_id: AccountId,
    /// Names the request.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// The app.
    pub app_id: AppId,
    /// What the key may be used for.
    pub scopes: Vec<String>,
    /// When it ends; `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A new key.
pub struct CreatedApiKey {
    /// The key.
    pub key: ApiKey,
    /// The whole of it, shown this once; empty when the request was repeated.
    pub secret: String,
}

impl App {
    /// Makes a key and shows its secret once.
    pub async fn create_api_key(&self, command: CreateApiKey) -> Result<CreatedApiKey, Error> {
        let now = self.clock.now();
        let known = |scope: &String| SCOPES.contains(&scope.as_str());
        if command.scopes.is_empty() || !command.scopes.iter().all(known) {
            return Err(Error::invalid(
                "scopes",
                "must be known capabilities, at least one",
            ));
        }
        if command.expires_at.is_some_and(|end| end <= now) {
            return Err(Error::invalid("expire_time", "is in the past"));
        }
        self.app(command.account_id, command.app_id).await?;
        let mut scopes = command.scopes;
        scopes.sort();
        scopes.dedup();
        let key = ApiKey {
            key_id: self.ids.id(),
            app_id: command.app_id,
            account_id: command.account_id,
            scopes,
            created_at: now,
            expires_at: command.expires_at,
            revoked_at: None,
        };
        let mut tx = self.pool.begin().await?;
        let caller = format!("account:{}", command.account_id);
        let request = RequestKey {
            method: "wanwu.identity.v1.ApiKeyService/CreateApiKey",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        let (object_id, kept) = (key.key_id.uuid(), Some(requests::KEPT));
        if let Claim::Repeated(made) =
            requests::claim(&mut tx, request, command.body, object_id, now, kept).await?
        {
            let key = apps::find_key(&mut tx, KeyId::from_uuid(made)).await?;
            return Ok(CreatedApiKey {
                key: key.ok_or(Error::NotFound)?,
                secret: String::new(),
            });
        }
        apps::lock_owner(&mut tx, command.account_id).await?;
        if apps::count_keys(&mut tx, command.app_id, now).await? >= MAX_KEYS {
            return Err(Error::TooMany);
        }
        let secret = self.write_key(&mut tx, &key).await?;
        tx.commit().await?;
        Ok(CreatedApiKey { key, secret })
    }

    async fn write_key(&self, tx: &mut PgConnection, key: &ApiKey) -> sqlx::Result<String> {
        let credential = Credential::new(Kind::ApiKey, key.key_id.uuid(), &*self.entropy);
        let subject = AppKeySubject {
            account_id: key.account_id.to_string(),
            app_id: key.app_id.to_string(),
            key_id: key.key_id.to_string(),
            scopes: key.scopes.clone(),
        };
        apps::insert_key(tx, key).await?;
        grants::insert(
            tx,
            &NewGrant {
                credential_id: key.key_id.uuid(),
                session_id: None,
                secret_hash: &credential.secret_hash,
                principal: &Principal {
                    subject: Some(Subject::AppKey(subject)),
                    ..Principal::default()
                },
                expires_at: key.expires_at,
            },
        )
        .await?;
        Ok(credential.text)
    }

    /// Ends a key: every replica refuses it within a second. Revoking again changes nothing.
    pub async fn revoke_api_key(&self, account_id: AccountId, id: KeyId) -> Result<ApiKey, Error> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let mut key = apps::lock_key(&mut tx, id)
            .await?
            .filter(|key| key.account_id == account_id)
            .ok_or(Error::NotFound)?;
        if key.revoked_at.is_none() {
            key.revoked_at = Some(now);
            apps::revoke_key(&mut tx, id, now).await?;
            grants::revoke(&mut tx, id.uuid()).await?;
            let event = ApiKeyRevoked {
                key_id: id.to_string(),
                account_id: account_id.to_string(),
                revoke_time: Some(Timestamp {
                    seconds: now.timestamp(),
                    nanos: 0,
                }),
            };
            wanwu_events::publish(&mut tx, &self.ids, &event).await?;
        }
        tx.commit().await?;
        Ok(key)
    }

    /// The keys of the account's app, newest first.
    pub async fn api_keys(
        &self,
        account_id: AccountId,
        app_id: AppId,
        page: &PageRequest<KeyId>,
    ) -> Result<Page<ApiKey>, Error> {
        self.app(account_id, app_id).await?;
        let mut connection = self.pool.acquire().await?;
        let rows = apps::list_keys(&mut connection, app_id, page.after, page.limit()).await?;
        Ok(page.page(rows, |key| key.key_id))
    }
}
