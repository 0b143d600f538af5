use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_proto::identity::v1::{
    self as pb, RefreshSessionRequest, RefreshSessionResponse, RegisterRequest, RegisterResponse,
    SendVerificationCodeRequest, SendVerificationCodeResponse, SignInRequest, SignInResponse,
    SignOutRequest, SignOutResponse, session_service_server::SessionService,
};

use super::{Handlers, phone, timestamp};
use crate::{
    commands::{Register, Tokens},
    domain::code::SIGN_IN,
    error::Error,
};

/// Versions named in one acceptance.
const MAX_VERSIONS: usize = 20;

impl From<Tokens> for pb::Tokens {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access,
            refresh_token: tokens.refresh,
            access_expire_time: Some(timestamp(tokens.access_expires_at)),
        }
    }
}

#[tonic::async_trait]
impl SessionService for Handlers {
    async fn send_verification_code(
        &self,
        request: Request<SendVerificationCodeRequest>,
    ) -> Result<Response<SendVerificationCodeResponse>, Status> {
        let address_key = caller(&request)?.address_key.clone();
        let phone = phone(&request.get_ref().phone)?;
        let expires_in_seconds = self.0.send_code(phone, SIGN_IN, &address_key).await?;
        Ok(Response::new(SendVerificationCodeResponse {
            expires_in_seconds,
        }))
    }

    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let request = request.into_inner();
        if request.accepted_agreement_version_ids.len() > MAX_VERSIONS {
            return Err(Error::invalid("accepted_agreement_version_ids", "are too many").into());
        }
        let command = Register {
            phone: phone(&request.phone)?,
            code: request.code,
            accepted_version_ids: request.accepted_agreement_version_ids,
        };
        let (account_id, tokens) = self.0.register(command).await?;
        let account_id = account_id.to_string();
        Ok(Response::new(RegisterResponse {
            account_id,
            tokens: Some(tokens.into()),
        }))
    }

    async fn sign_in(
        &self,
        request: Request<SignInRequest>,
    ) -> Result<Response<SignInResponse>, Status> {
        let request = request.into_inner();
        let (account_id, tokens) = self
            .0
            .sign_in(&phone(&request.phone)?, &request.code)
            .await?;
        let account_id = account_id.to_string();
        Ok(Response::new(SignInResponse {
            account_id,
            tokens: Some(tokens.into()),
        }))
    }

    async fn refresh_session(
        &self,
        request: Request<RefreshSessionRequest>,
    ) -> Result<Response<RefreshSessionResponse>, Status> {
        let tokens = self
            .0
            .refresh_session(&request.get_ref().refresh_token)
            .await?;
        Ok(Response::new(RefreshSessionResponse {
            tokens: Some(tokens.into()),
        }))
    }

    async fn sign_out(
        &self,
        request: Request<SignOutRequest>,
    ) -> Result<Response<SignOutResponse>, Status> {
        self.0.sign_out(caller(&request)?.session_id()?).await?;
        Ok(Response::new(SignOutResponse {}))
    }
}
