use chrono::{DateTime, Utc};
use wanwu_ids::{OperatorId, RequestId, VersionId};
use wanwu_postgres::requests::{self, BodyMac, Claim, RequestKey};
use wanwu_proto::privacy::v1::AgreementPublished;

use crate::{
    app::App,
    convert::timestamp,
    error::Error,
    purposes::sha256_hex,
    store::{
        agreements::{self, AgreementVersion},
        operator_actions,
    },
};

/// A privacy officer publishes the next version of an agreement.
pub struct PublishAgreement {
    /// Who.
    pub operator_id: OperatorId,
    /// Names the request.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// Which agreement.
    pub agreement: String,
    /// Title.
    pub title: String,
    /// The text.
    pub text: String,
    /// From when it is in force.
    pub effective_at: DateTime<Utc>,
}

impl App {
    /// Writes the version; nothing about it ever changes after (obligations T0.4, T0.9).
    pub async fn publish_agreement(
        &self,
        command: PublishAgreement,
    ) -> Result<AgreementVersion, Error> {
        let now = self.clock.now();
        if command.effective_at < now {
            return Err(Error::invalid("effective_time", "is in the past"));
        }
        let mut tx = self.pool.begin().await?;
        let version_id: VersionId = self.ids.id();
        let caller = format!("operator:{}", command.operator_id);
        let key = RequestKey {
            method: "wanwu.privacy.v1.AgreementService/PublishAgreement",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        if let Claim::Repeated(version_id) =
            requests::claim(&mut tx, key, command.body, version_id.uuid(), now, None).await?
        {
            return agreements::find(&mut tx, VersionId::from_uuid(version_id))
                .await?
                .ok_or(Error::NotFound);
        }
        agreements::lock(&mut tx).await?;
        let version = AgreementVersion {
            version_id,
            number: agreements::next_number(&mut tx, &command.agreement).await?,
            agreement: command.agreement,
            title: command.title,
            sha256: sha256_hex(&command.text),
            published_at: now,
            effective_at: command.effective_at,
        };
        agreements::insert(&mut tx, &version, &command.text).await?;
        let entry_id = self.ids.id::<()>().uuid();
        let (operator_id, object_id) = (command.operator_id, version_id.uuid());
        operator_actions::record(
            &mut tx,
            entry_id,
            operator_id,
            "publish_agreement",
            object_id,
            now,
        )
        .await?;
        wanwu_events::publish(&mut tx, &self.ids, &published(&version)).await?;
        tx.commit().await?;
        Ok(version)
    }
}

/// What is told of a version.
pub(super) fn published(version: &AgreementVersion) -> AgreementPublished {
    AgreementPublished {
        version_id: version.version_id.to_string(),
        agreement: version.agreement.clone(),
        effective_time: Some(timestamp(version.effective_at)),
        number: version.number,
    }
}
