use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_proto::privacy::v1::{
    ConfirmGuardianConsentRequest, ConfirmGuardianConsentResponse, StartGuardianConsentRequest,
    StartGuardianConsentResponse, WithdrawGuardianConsentRequest, WithdrawGuardianConsentResponse,
    guardian_service_server::GuardianService,
};

use super::{Handlers, id, text};
use crate::{
    commands::{ConfirmGuardianConsent, StartGuardianConsent},
    error::Error,
};

fn pair<T>(request: &Request<T>, ward: &str) -> Result<StartGuardianConsent, Status> {
    let guardian_id = caller(request)?.account_id()?;
    let ward_id = id("ward_account_id", ward)?;
    if guardian_id == ward_id {
        return Err(Error::GuardianNotEligible.into());
    }
    Ok(StartGuardianConsent {
        guardian_id,
        ward_id,
    })
}

#[tonic::async_trait]
impl GuardianService for Handlers {
    async fn start_guardian_consent(
        &self,
        request: Request<StartGuardianConsentRequest>,
    ) -> Result<Response<StartGuardianConsentResponse>, Status> {
        let pair = pair(&request, &request.get_ref().ward_account_id)?;
        let expires_in_seconds = self.0.start_guardian_consent(pair).await?;
        Ok(Response::new(StartGuardianConsentResponse {
            expires_in_seconds,
        }))
    }

    async fn confirm_guardian_consent(
        &self,
        request: Request<ConfirmGuardianConsentRequest>,
    ) -> Result<Response<ConfirmGuardianConsentResponse>, Status> {
        let pair = pair(&request, &request.get_ref().ward_account_id)?;
        let code = text("code", request.into_inner().code, 6)?;
        self.0
            .confirm_guardian_consent(ConfirmGuardianConsent { pair, code })
            .await?;
        Ok(Response::new(ConfirmGuardianConsentResponse {}))
    }

    async fn withdraw_guardian_consent(
        &self,
        request: Request<WithdrawGuardianConsentRequest>,
    ) -> Result<Response<WithdrawGuardianConsentResponse>, Status> {
        let pair = pair(&request, &request.get_ref().ward_account_id)?;
        self.0.withdraw_guardian_consent(pair).await?;
        Ok(Response::new(WithdrawGuardianConsentResponse {}))
    }
}
