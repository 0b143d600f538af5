use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use wanwu_ids::OperatorId;
use wanwu_personal::Aad;
use wanwu_postgres::violates;
use wanwu_proto::access::v1::OperatorRole;

use crate::{
    app::App,
    error::Error,
    store::{
        audit,
        operators::{self, ONE_NAME, Operator},
    },
};

/// A new operator; what is shown once.
pub struct CreatedOperator {
    /// The operator.
    pub operator_id: OperatorId,
    /// The password.
    pub password: String,
    /// The authenticator's secret, Base32.
    pub totp_secret: String,
}

impl App {
    /// Makes an operator; on the host only.
    pub async fn create_operator(
        &self,
        name: &str,
        roles: &[OperatorRole],
    ) -> Result<CreatedOperator, Error> {
        if !is_name(name) {
            return Err(Error::invalid("name", "must be [a-z][a-z0-9.-]{1,31}"));
        }
        let mut secret = [0; 20];
        self.entropy.fill(&mut secret);
        let mut password = [0; 18];
        self.entropy.fill(&mut password);
        let password = URL_SAFE_NO_PAD.encode(password);
        let password_hash = self.hash_password(password.clone()).await?;
        let operator_id: OperatorId = self.ids.id();
        let now = self.clock.now();
        let mut roles: Vec<_> = roles.iter().map(|role| i32::from(*role)).collect();
        roles.sort_unstable();
        roles.dedup();

        let mut tx = self.pool.begin().await?;
        let key = self.keys.key_in(&mut tx, operator_id.uuid(), now).await?;
        let row = operator_id.to_string();
        let operator = Operator {
            operator_id,
            name: name.to_owned(),
            password_hash,
            totp_sealed: key.seal(totp_aad(&row), &secret)?,
            totp_step: 0,
            roles,
        };
        let inserted = operators::insert(&mut tx, &operator, now).await;
        inserted.map_err(|error| {
            if violates(&error, ONE_NAME) {
                Error::invalid("name", "is taken")
            } else {
                error.into()
            }
        })?;
        // Whoever has the host has no id here: the new operator stands for both.
        let entry = audit::Entry {
            entry_id: self.ids.id::<()>().uuid(),
            operator_id,
            action: "create_operator".to_owned(),
            object_id: operator_id.uuid(),
            reason_code: "on_host".to_owned(),
            acted_at: now,
        };
        audit::insert(&mut tx, &entry).await?;
        tx.commit().await?;
        let totp_secret = totp_rs::Secret::Raw(secret.to_vec())
            .to_encoded()
            .to_string();
        Ok(CreatedOperator {
            operator_id,
            password,
            totp_secret,
        })
    }
}

/// `[a-z][a-z0-9.-]{1,31}`, as the database wants it.
pub(super) fn is_name(text: &str) -> bool {
    let rest =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    (2..=32).contains(&text.len())
        && text.as_bytes()[0].is_ascii_lowercase()
        && text.bytes().all(rest)
}

/// Where an authenticator's secret stands.
pub(super) const fn totp_aad(row: &str) -> Aad<'_> {
    Aad {
        table: "operators",
        column: "totp_sealed",
        row,
    }
}
