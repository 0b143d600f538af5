use wanwu_ids::{AccountId, ConsentId, RequestId};
use wanwu_postgres::requests::{self, BodyMac, Claim, RequestKey};

use crate::{
    app::App,
    domain::purpose,
    error::Error,
    store::{
        consents::{self, Consent},
        gates::Change,
    },
};

/// A person consents to a purpose, having been shown its text.
pub struct GiveConsent {
    /// Who.
    pub account_id: AccountId,
    /// Names the request.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// The purpose's code.
    pub purpose: String,
    /// SHA-256 of the text that was shown, hex.
    pub text_sha256: String,
}

impl App {
    /// Writes the consent into the ledger.
    pub async fn give_consent(&self, command: GiveConsent) -> Result<Consent, Error> {
        let given = self.consent(command.account_id, &command.purpose)?;
        if given.text_sha256 != command.text_sha256 {
            return Err(Error::invalid(
                "text_sha256",
                "is not the hash of the current text",
            ));
        }
        let mut tx = self.pool.begin().await?;
        consents::lock(&mut tx, command.account_id).await?;
        let caller = format!("account:{}", command.account_id);
        let key = RequestKey {
            method: "wanwu.privacy.v1.ConsentService/GiveConsent",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        let object_id = given.consent_id.uuid();
        let now = self.clock.now();
        let kept = Some(requests::KEPT);
        if let Claim::Repeated(consent_id) =
            requests::claim(&mut tx, key, command.body, object_id, now, kept).await?
        {
            let consent_id = ConsentId::from_uuid(consent_id);
            return consents::find(&mut tx, command.account_id, consent_id)
                .await?
                .ok_or(Error::NotFound);
        }
        consents::record(&mut tx, self.ids.id::<()>().uuid(), &given).await?;
        if given.purpose == purpose::CORE_SERVICE {
            let change = Change {
                core_consent: Some(true),
                ..Change::default()
            };
            self.change_gate(&mut tx, command.account_id, change)
                .await?;
        }
        tx.commit().await?;
        Ok(given)
    }

    /// A consent to the current text of a purpose, given now.
    pub(super) fn consent(&self, account_id: AccountId, purpose: &str) -> Result<Consent, Error> {
        let text_sha256 = self
            .purposes
            .text_sha256(purpose)
            .ok_or_else(|| Error::invalid("purpose", "is not one of ListPurposes"))?;
        Ok(Consent {
            consent_id: self.ids.id(),
            account_id,
            purpose: purpose.to_owned(),
            text_sha256: text_sha256.to_owned(),
            given_at: self.clock.now(),
            withdrawn_at: None,
        })
    }
}
