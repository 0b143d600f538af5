use tonic::Code;
use uuid::Uuid;
use wanwu_grpc::Channel;
use wanwu_ids::{AccountId, ConsentId};
use wanwu_proto::privacy::v1::{UseConsentRequest, consent_service_client::ConsentServiceClient};

use crate::error::Error;

/// What a consent to an agency query is for.
const PURPOSE: &str = "real_name_agency_query";

/// What verification asks of privacy.
pub struct Privacy(ConsentServiceClient<Channel>);

impl Privacy {
    /// Privacy through this channel.
    pub fn new(channel: Channel) -> Self {
        Self(ConsentServiceClient::new(channel))
    }

    /// Uses up the consent to one agency query for one act; the same act again is fine.
    pub async fn use_consent(
        &self,
        account_id: AccountId,
        consent_id: ConsentId,
        act: Uuid,
    ) -> Result<(), Error> {
        let request = UseConsentRequest {
            account_id: account_id.to_string(),
            consent_id: consent_id.to_string(),
            purpose: PURPOSE.to_owned(),
            use_id: act.to_string(),
        };
        match self.0.clone().use_consent(request).await {
            Ok(_) => Ok(()),
            Err(status) => match status.code() {
                Code::NotFound | Code::FailedPrecondition => Err(Error::ConsentRequired),
                _ => Err(Error::Privacy(status)),
            },
        }
    }
}
