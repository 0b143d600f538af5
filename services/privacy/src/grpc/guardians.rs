use chrono::SubsecRound;
use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_proto::privacy::v1::{
    AllowPurchasesRequest, AllowPurchasesResponse, ConfirmGuardianConsentRequest,
    ConfirmGuardianConsentResponse, StartGuardianConsentRequest, StartGuardianConsentResponse,
    WithdrawGuardianConsentRequest, WithdrawGuardianConsentResponse,
    guardian_service_server::GuardianService,
};

use super::{Handlers, id, text};
use crate::{
    commands::{ConfirmGuardianConsent, StartGuardianConsent},
    convert::instant,
    domain::allowance::Limits,
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

    async fn allow_purchases(
        &self,
        request: Request<AllowPurchasesRequest>,
    ) -> Result<Response<AllowPurchasesResponse>, Status> {
        let pair = pair(&request, &request.get_ref().ward_account_id)?;
        let request = request.into_inner();
        let until = request.until_time.as_ref().and_then(instant);
        let until = until.ok_or_else(|| Error::invalid("until_time", "is not an instant"))?;
        let limits = Limits {
            order_fen: request.order_limit_fen,
            month_fen: request.month_limit_fen,
            until: until.trunc_subsecs(6),
        };
        let version = self.0.allow_purchases(pair, limits).await?;
        Ok(Response::new(AllowPurchasesResponse { version }))
    }
}
