use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_ids::VersionId;
use wanwu_proto::privacy::v1::{
    AcceptAgreementsRequest, AcceptAgreementsResponse, AgreementVersion,
    GetAgreementInForceRequest, GetAgreementInForceResponse, GetAgreementTextRequest,
    GetAgreementTextResponse, ListCurrentAgreementsRequest, ListCurrentAgreementsResponse,
    PublishAgreementRequest, PublishAgreementResponse, RecordAcceptanceRequest,
    RecordAcceptanceResponse, agreement_service_server::AgreementService,
};

use super::{Handlers, id, text};
use crate::{
    commands::PublishAgreement,
    convert::{instant, timestamp},
    error::Error,
    store::agreements,
};

/// A text of an agreement, in bytes.
const MAX_TEXT: usize = 1 << 20;
/// Versions named in one acceptance.
const MAX_VERSIONS: usize = 20;

impl From<agreements::AgreementVersion> for AgreementVersion {
    fn from(version: agreements::AgreementVersion) -> Self {
        Self {
            version_id: version.version_id.to_string(),
            agreement: version.agreement,
            number: version.number,
            title: version.title,
            sha256: version.sha256,
            publish_time: Some(timestamp(version.published_at)),
            effective_time: Some(timestamp(version.effective_at)),
        }
    }
}

fn versions(named: &[String]) -> Result<Vec<VersionId>, Error> {
    if named.len() > MAX_VERSIONS {
        return Err(Error::invalid("version_ids", "are too many"));
    }
    named.iter().map(|text| id("version_ids", text)).collect()
}

#[tonic::async_trait]
impl AgreementService for Handlers {
    async fn list_current_agreements(
        &self,
        _: Request<ListCurrentAgreementsRequest>,
    ) -> Result<Response<ListCurrentAgreementsResponse>, Status> {
        let versions = self.0.current_agreements().await?;
        let versions = versions.into_iter().map(Into::into).collect();
        Ok(Response::new(ListCurrentAgreementsResponse { versions }))
    }

    async fn get_agreement_text(
        &self,
        request: Request<GetAgreementTextRequest>,
    ) -> Result<Response<GetAgreementTextResponse>, Status> {
        let version_id = id("version_id", &request.get_ref().version_id)?;
        let (version, text) = self.0.agreement_text(version_id).await?;
        Ok(Response::new(GetAgreementTextResponse {
            version: Some(version.into()),
            text,
        }))
    }

    async fn get_agreement_in_force(
        &self,
        request: Request<GetAgreementInForceRequest>,
    ) -> Result<Response<GetAgreementInForceResponse>, Status> {
        let request = request.into_inner();
        let at = match &request.instant {
            None => self.0.clock.now(),
            Some(at) => instant(at).ok_or_else(|| Error::invalid("instant", "is no instant"))?,
        };
        let version = self.0.agreement_in_force(&request.agreement, at).await?;
        Ok(Response::new(GetAgreementInForceResponse {
            version: Some(version.into()),
        }))
    }

    async fn accept_agreements(
        &self,
        request: Request<AcceptAgreementsRequest>,
    ) -> Result<Response<AcceptAgreementsResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let named = versions(&request.get_ref().version_ids)?;
        self.0.accept_agreements(account_id, &named).await?;
        Ok(Response::new(AcceptAgreementsResponse {}))
    }

    async fn publish_agreement(
        &self,
        request: Request<PublishAgreementRequest>,
    ) -> Result<Response<PublishAgreementResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let effective_at = request.effective_time.as_ref().and_then(instant);
        let version = self
            .0
            .publish_agreement(PublishAgreement {
                operator_id,
                request_id: id("request_id", &request.request_id)?,
                body: self.0.body_key.mac(&request),
                effective_at: effective_at
                    .ok_or_else(|| Error::invalid("effective_time", "is no instant"))?,
                agreement: text("agreement", request.agreement, 64)?,
                title: text("title", request.title, 200)?,
                text: text("text", request.text, MAX_TEXT)?,
            })
            .await?;
        Ok(Response::new(PublishAgreementResponse {
            version: Some(version.into()),
        }))
    }

    async fn record_acceptance(
        &self,
        request: Request<RecordAcceptanceRequest>,
    ) -> Result<Response<RecordAcceptanceResponse>, Status> {
        let request = request.into_inner();
        let account_id = id("account_id", &request.account_id)?;
        self.0
            .accept_at_registration(account_id, &versions(&request.version_ids)?)
            .await?;
        Ok(Response::new(RecordAcceptanceResponse {}))
    }
}
