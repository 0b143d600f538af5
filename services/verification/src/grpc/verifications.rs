use std::str::FromStr;

use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_personal::{PersonName, ResidentId};
use wanwu_proto::verification::v1::{
    GetVerificationRequest, GetVerificationResponse, SubmitRealNameRequest, SubmitRealNameResponse,
    Verification, VerificationState, verification_service_server::VerificationService,
};

use super::Handlers;
use crate::{commands::SubmitRealName, convert::timestamp, error::Error, store::verifications};

impl From<verifications::Verification> for Verification {
    fn from(check: verifications::Verification) -> Self {
        Self {
            verification_id: check.verification_id.to_string(),
            state: VerificationState::from(check.state).into(),
            submit_time: Some(timestamp(check.submitted_at)),
            decide_time: check.decided_at.map(timestamp),
        }
    }
}

fn id<T: FromStr>(field: &'static str, text: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|_| Error::invalid(field, "is not a UUID"))
}

#[tonic::async_trait]
impl VerificationService for Handlers {
    async fn submit_real_name(
        &self,
        request: Request<SubmitRealNameRequest>,
    ) -> Result<Response<SubmitRealNameResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let command = SubmitRealName {
            account_id,
            request_id: id("request_id", &request.request_id)?,
            body: self.0.body_key.mac(&request),
            // What is wrong is told by rule, never by repeating what was sent.
            name: PersonName::parse(&request.name)
                .map_err(|_| Error::invalid("name", "must have 2 to 30 characters of a name"))?,
            resident_id: ResidentId::parse(&request.resident_id, self.0.today())
                .map_err(|_| Error::invalid("resident_id", "is not a resident ID (GB 11643)"))?,
            consent_id: id("consent_id", &request.consent_id)?,
        };
        let check = self.0.submit_real_name(command).await?;
        Ok(Response::new(SubmitRealNameResponse {
            verification: Some(check.into()),
        }))
    }

    async fn get_verification(
        &self,
        request: Request<GetVerificationRequest>,
    ) -> Result<Response<GetVerificationResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let mut connection = self.0.pool.acquire().await.map_err(Error::from)?;
        let check = verifications::newest(&mut connection, account_id)
            .await
            .map_err(Error::from)?
            .ok_or(Error::NotFound)?;
        Ok(Response::new(GetVerificationResponse {
            verification: Some(check.into()),
        }))
    }
}
