use tonic::{Request, Response, Status};
use wanwu_proto::identity::v1::{
    CheckAccountCodeRequest, CheckAccountCodeResponse, SendAccountCodeRequest,
    SendAccountCodeResponse, account_code_service_server::AccountCodeService,
};

use super::{Handlers, id};
use crate::{domain::code::SIGN_IN, error::Error};

/// A purpose of another service: never the one that signs in.
fn purpose(text: &str) -> Result<&str, Error> {
    if text.is_empty() || text.len() > 80 || text == SIGN_IN {
        return Err(Error::invalid("purpose", "must have 1 to 80 characters"));
    }
    Ok(text)
}

#[tonic::async_trait]
impl AccountCodeService for Handlers {
    async fn send_account_code(
        &self,
        request: Request<SendAccountCodeRequest>,
    ) -> Result<Response<SendAccountCodeResponse>, Status> {
        let request = request.into_inner();
        let account_id = id("account_id", &request.account_id)?;
        let expires_in_seconds = self
            .0
            .send_account_code(account_id, purpose(&request.purpose)?)
            .await?;
        Ok(Response::new(SendAccountCodeResponse {
            expires_in_seconds,
        }))
    }

    async fn check_account_code(
        &self,
        request: Request<CheckAccountCodeRequest>,
    ) -> Result<Response<CheckAccountCodeResponse>, Status> {
        let request = request.into_inner();
        let account_id = id("account_id", &request.account_id)?;
        self.0
            .check_account_code(account_id, purpose(&request.purpose)?, &request.code)
            .await?;
        Ok(Response::new(CheckAccountCodeResponse {}))
    }
}
