use prost_types::Timestamp;
use wanwu_ids::AccountId;
use wanwu_personal::{Aad, Phone};
use wanwu_postgres::violates;
use wanwu_proto::{identity::v1::AccountRegistered, privacy::v1::RecordAcceptanceRequest};

use super::open_session::Tokens;
use crate::{
    app::App,
    domain::code::SIGN_IN,
    error::Error,
    store::{
        accounts::{self, ONE_ACCOUNT},
        codes, standings,
    },
};

/// A person registers.
pub struct Register {
    /// The number.
    pub phone: Phone,
    /// What was typed.
    pub code: String,
    /// The versions of the agreements that are accepted.
    pub accepted_version_ids: Vec<String>,
}

impl App {
    /// Makes an account for a proved number that has none, and signs in (obligations T0.2, T2.1.1a).
    /// A refusal after the right code leaves the code usable.
    pub async fn register(&self, command: Register) -> Result<(AccountId, Tokens), Error> {
        let Register {
            phone,
            code,
            accepted_version_ids,
        } = command;
        let code_id = self.compare_code(&phone, SIGN_IN, &code).await?;
        let mut connection = self.pool.acquire().await?;
        let macs = self.phones.macs(phone.expose());
        if accounts::find_by_phone(&mut connection, &macs)
            .await?
            .is_some()
        {
            return Err(Error::AlreadyRegistered);
        }
        drop(connection);
        let account_id: AccountId = self.ids.id();
        // First, so that an account never stands without its acceptance. An acceptance that stands
        // without an account, after a crash in between, names nobody.
        self.privacy
            .record_acceptance(RecordAcceptanceRequest {
                account_id: account_id.to_string(),
                version_ids: accepted_version_ids,
            })
            .await?;

        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if !codes::use_up(&mut tx, code_id, now).await? {
            return Err(Error::CodeInvalid);
        }
        accounts::insert(&mut tx, account_id, now).await?;
        let key = self.keys.key_in(&mut tx, account_id.uuid(), now).await?;
        let row = account_id.to_string();
        let sealed = key.seal(phone_aad(&row), phone.expose().as_bytes())?;
        let index = self.phones.entry(phone.expose());
        accounts::insert_phone(&mut tx, account_id, &sealed, &index)
            .await
            .map_err(|error| {
                if violates(&error, ONE_ACCOUNT) {
                    Error::AlreadyRegistered
                } else {
                    error.into()
                }
            })?;
        standings::insert(&mut tx, account_id).await?;
        let tokens = self.open_session(&mut tx, account_id).await?;
        let event = AccountRegistered {
            account_id: account_id.to_string(),
            register_time: Some(Timestamp {
                seconds: now.timestamp(),
                nanos: 0,
            }),
        };
        wanwu_events::publish(&mut tx, &self.ids, &event).await?;
        tx.commit().await?;
        Ok((account_id, tokens))
    }
}

/// Where an account's number stands.
pub(super) const fn phone_aad(row: &str) -> Aad<'_> {
    Aad {
        table: "phones",
        column: "sealed",
        row,
    }
}
