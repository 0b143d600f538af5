use tonic::{Request, Response, Status};
use uuid::Uuid;
use wanwu_access::caller;
use wanwu_postgres::page::PageRequest;
use wanwu_proto::privacy::v1::{
    Consent, GiveConsentRequest, GiveConsentResponse, ListConsentsRequest, ListConsentsResponse,
    ListPurposesRequest, ListPurposesResponse, Purpose, UseConsentRequest, UseConsentResponse,
    WithdrawConsentRequest, WithdrawConsentResponse, consent_service_server::ConsentService,
};

use super::{Handlers, id, text};
use crate::{
    commands::{GiveConsent, UseConsent},
    convert::timestamp,
    error::Error,
    store::consents,
};

impl From<consents::Consent> for Consent {
    fn from(consent: consents::Consent) -> Self {
        Self {
            consent_id: consent.consent_id.to_string(),
            purpose: consent.purpose,
            text_sha256: consent.text_sha256,
            give_time: Some(timestamp(consent.given_at)),
            withdraw_time: consent.withdrawn_at.map(timestamp),
        }
    }
}

#[tonic::async_trait]
impl ConsentService for Handlers {
    async fn list_purposes(
        &self,
        _: Request<ListPurposesRequest>,
    ) -> Result<Response<ListPurposesResponse>, Status> {
        let purposes = self.0.purposes.iter().map(|(purpose, hash)| Purpose {
            code: purpose.code.clone(),
            text: purpose.text.clone(),
            text_sha256: hash.clone(),
            kind: purpose.kind.clone(),
            single_use: purpose.single_use,
        });
        Ok(Response::new(ListPurposesResponse {
            purposes: purposes.collect(),
        }))
    }

    async fn give_consent(
        &self,
        request: Request<GiveConsentRequest>,
    ) -> Result<Response<GiveConsentResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let consent = self
            .0
            .give_consent(GiveConsent {
                account_id,
                request_id: id("request_id", &request.request_id)?,
                body: self.0.body_key.mac(&request),
                purpose: text("purpose", request.purpose, 64)?,
                text_sha256: text("text_sha256", request.text_sha256, 64)?,
            })
            .await?;
        Ok(Response::new(GiveConsentResponse {
            consent: Some(consent.into()),
        }))
    }

    async fn withdraw_consent(
        &self,
        request: Request<WithdrawConsentRequest>,
    ) -> Result<Response<WithdrawConsentResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let purpose = text("purpose", request.into_inner().purpose, 64)?;
        self.0.withdraw_consent(account_id, &purpose).await?;
        Ok(Response::new(WithdrawConsentResponse {}))
    }

    async fn list_consents(
        &self,
        request: Request<ListConsentsRequest>,
    ) -> Result<Response<ListConsentsResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let page = PageRequest::<Uuid>::parse(request.page_size, &request.page_token)
            .map_err(|error| Error::invalid(error.field(), "is not valid"))?;
        let page = self.0.list_consents(account_id, &page).await?;
        Ok(Response::new(ListConsentsResponse {
            consents: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn use_consent(
        &self,
        request: Request<UseConsentRequest>,
    ) -> Result<Response<UseConsentResponse>, Status> {
        let request = request.into_inner();
        self.0
            .use_consent(UseConsent {
                account_id: id("account_id", &request.account_id)?,
                consent_id: id("consent_id", &request.consent_id)?,
                purpose: text("purpose", request.purpose, 64)?,
                use_id: id("use_id", &request.use_id)?,
            })
            .await?;
        Ok(Response::new(UseConsentResponse {}))
    }
}
