use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_ids::{AccountId, RequestId};
use wanwu_proto::identity::v1::{
    AuditEntry, LiftSuspensionRequest, LiftSuspensionResponse, ListAuditEntriesRequest,
    ListAuditEntriesResponse, SignInOperatorRequest, SignInOperatorResponse, SuspendAccountRequest,
    SuspendAccountResponse, operator_service_server::OperatorService,
};

use super::{Handlers, id, page, reason_code, timestamp};
use crate::{
    commands::{SetSuspension, SignInOperator},
    error::Error,
    store::audit,
};

impl From<audit::Entry> for AuditEntry {
    fn from(entry: audit::Entry) -> Self {
        Self {
            entry_id: entry.entry_id.to_string(),
            operator_id: entry.operator_id.to_string(),
            action: entry.action,
            object_id: entry.object_id.to_string(),
            reason_code: entry.reason_code,
            action_time: Some(timestamp(entry.acted_at)),
        }
    }
}

#[tonic::async_trait]
impl OperatorService for Handlers {
    async fn sign_in_operator(
        &self,
        request: Request<SignInOperatorRequest>,
    ) -> Result<Response<SignInOperatorResponse>, Status> {
        let SignInOperatorRequest {
            name,
            password,
            totp,
        } = request.into_inner();
        if name.len() > 64 || password.len() > 256 || totp.len() > 16 {
            return Err(Error::InvalidCredential.into());
        }
        let session = self
            .0
            .sign_in_operator(SignInOperator {
                name,
                password,
                totp,
            })
            .await?;
        Ok(Response::new(SignInOperatorResponse {
            access_token: session.token,
            expire_time: Some(timestamp(session.expires_at)),
        }))
    }

    async fn suspend_account(
        &self,
        request: Request<SuspendAccountRequest>,
    ) -> Result<Response<SuspendAccountResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let body = self.0.body_key.mac(&request);
        let account_id: AccountId = id("account_id", &request.account_id)?;
        let request_id: RequestId = id("request_id", &request.request_id)?;
        let reason_code = reason_code(request.reason_code)?;
        let suspended = true;
        self.0
            .set_suspension(SetSuspension {
                operator_id,
                request_id,
                body,
                account_id,
                suspended,
                reason_code,
            })
            .await?;
        Ok(Response::new(SuspendAccountResponse {}))
    }

    async fn lift_suspension(
        &self,
        request: Request<LiftSuspensionRequest>,
    ) -> Result<Response<LiftSuspensionResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let body = self.0.body_key.mac(&request);
        let account_id: AccountId = id("account_id", &request.account_id)?;
        let request_id: RequestId = id("request_id", &request.request_id)?;
        let reason_code = reason_code(request.reason_code)?;
        let suspended = false;
        self.0
            .set_suspension(SetSuspension {
                operator_id,
                request_id,
                body,
                account_id,
                suspended,
                reason_code,
            })
            .await?;
        Ok(Response::new(LiftSuspensionResponse {}))
    }

    async fn list_audit_entries(
        &self,
        request: Request<ListAuditEntriesRequest>,
    ) -> Result<Response<ListAuditEntriesResponse>, Status> {
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.audit_entries(&page).await?;
        Ok(Response::new(ListAuditEntriesResponse {
            entries: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}
