use chrono::DateTime;
use tonic::{Request, Response, Status};
use uuid::Uuid;
use wanwu_access::caller;
use wanwu_ids::AccountId;
use wanwu_personal::Uscc;
use wanwu_proto::billing::v1::{
    self as pb, ApproveCreditLimitRequest, ApproveCreditLimitResponse, GetCreditRequest,
    GetCreditResponse, ListCreditLimitRequestsRequest, ListCreditLimitRequestsResponse,
    ListCreditLimitsRequest, ListCreditLimitsResponse, LowerCreditLimitRequest,
    LowerCreditLimitResponse, RequestCreditLimitRequest, RequestCreditLimitResponse,
    WithdrawCreditLimitRequest, WithdrawCreditLimitResponse,
    credit_limit_service_server::CreditLimitService,
};

use super::{Handlers, id, page, refunds::number};
use crate::{
    commands::{Credit, RequestCreditLimit},
    convert::{text, timestamp},
    domain::{
        credit::State,
        money::{alert_nanos, budget_nanos, to_wire},
    },
    error::Error,
    store::credit_limits,
};

#[tonic::async_trait]
impl CreditLimitService for Handlers {
    async fn request_credit_limit(
        &self,
        request: Request<RequestCreditLimitRequest>,
    ) -> Result<Response<RequestCreditLimitResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = self.command(operator_id, &request.into_inner())?;
        let made = self.0.request_credit_limit(request).await?;
        Ok(Response::new(RequestCreditLimitResponse {
            credit_limit_request: Some(made.into()),
        }))
    }

    async fn approve_credit_limit(
        &self,
        request: Request<ApproveCreditLimitRequest>,
    ) -> Result<Response<ApproveCreditLimitResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let id = request_id(&request.get_ref().credit_limit_request_id)?;
        let approved = self.0.approve_credit_limit(operator_id, id).await?;
        Ok(Response::new(ApproveCreditLimitResponse {
            credit_limit_request: Some(approved.into()),
        }))
    }

    async fn withdraw_credit_limit(
        &self,
        request: Request<WithdrawCreditLimitRequest>,
    ) -> Result<Response<WithdrawCreditLimitResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let id = request_id(&request.get_ref().credit_limit_request_id)?;
        let withdrawn = self.0.withdraw_credit_limit(operator_id, id).await?;
        Ok(Response::new(WithdrawCreditLimitResponse {
            credit_limit_request: Some(withdrawn.into()),
        }))
    }

    async fn lower_credit_limit(
        &self,
        request: Request<LowerCreditLimitRequest>,
    ) -> Result<Response<LowerCreditLimitResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let account_id: AccountId = id("account_id", &request.account_id)?;
        let nanos = budget_nanos(&request.limit.unwrap_or_default())
            .map_err(|error| Error::invalid("limit", error.to_string()))?;
        self.0
            .lower_credit_limit(operator_id, account_id, nanos)
            .await?;
        let credit = self.0.credit_of(account_id).await?;
        Ok(Response::new(LowerCreditLimitResponse {
            credit: Some(credit.unwrap_or_default().into()),
        }))
    }

    async fn get_credit(
        &self,
        request: Request<GetCreditRequest>,
    ) -> Result<Response<GetCreditResponse>, Status> {
        let account_id = id("account_id", &request.get_ref().account_id)?;
        let credit = self.0.credit_of(account_id).await?;
        Ok(Response::new(GetCreditResponse {
            credit: Some(credit.unwrap_or_default().into()),
        }))
    }

    async fn list_credit_limit_requests(
        &self,
        request: Request<ListCreditLimitRequestsRequest>,
    ) -> Result<Response<ListCreditLimitRequestsResponse>, Status> {
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.credit_limit_requests(&page).await?;
        Ok(Response::new(ListCreditLimitRequestsResponse {
            credit_limit_requests: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_credit_limits(
        &self,
        request: Request<ListCreditLimitsRequest>,
    ) -> Result<Response<ListCreditLimitsResponse>, Status> {
        let request = request.into_inner();
        let account_id = id("account_id", &request.account_id)?;
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.credit_limits(account_id, &page).await?;
        Ok(Response::new(ListCreditLimitsResponse {
            credit_limits: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}

impl Handlers {
    fn command(
        &self,
        operator_id: wanwu_ids::OperatorId,
        request: &RequestCreditLimitRequest,
    ) -> Result<RequestCreditLimit, Error> {
        let limit = request.limit.clone().unwrap_or_default();
        let uscc = Uscc::parse(&request.uscc);
        let end = request.end_time.as_ref();
        let end = end.and_then(|end| DateTime::from_timestamp(end.seconds, 0));
        Ok(RequestCreditLimit {
            operator_id,
            request_id: id("request_id", &request.request_id)?,
            body: self.0.body_key.mac(request),
            account_id: id("account_id", &request.account_id)?,
            limit_nanos: alert_nanos(&limit)
                .map_err(|error| Error::invalid("limit", error.to_string()))?,
            contract: number("contract", &request.contract)?,
            uscc: uscc.map_err(|why| Error::invalid("uscc", why.to_string()))?,
            ends_at: end.ok_or_else(|| Error::invalid("end_time", "is not an instant"))?,
        })
    }
}

fn request_id(text: &str) -> Result<Uuid, Error> {
    id("credit_limit_request_id", text)
}

impl From<State> for pb::CreditLimitRequestState {
    fn from(state: State) -> Self {
        match state {
            State::Requested => Self::Requested,
            State::Approved => Self::Approved,
            State::Withdrawn => Self::Withdrawn,
        }
    }
}

impl From<credit_limits::Request> for pb::CreditLimitRequest {
    fn from(request: credit_limits::Request) -> Self {
        Self {
            credit_limit_request_id: request.credit_limit_request_id.to_string(),
            account_id: request.account_id.to_string(),
            state: pb::CreditLimitRequestState::from(request.state).into(),
            limit: Some(to_wire(request.limit_nanos)),
            contract: request.contract,
            uscc: request.uscc,
            end_time: Some(timestamp(request.ends_at)),
            request_time: Some(timestamp(request.requested_at)),
            requested_by: request.requested_by.to_string(),
            decide_time: request.decided_at.map(timestamp),
            decided_by: text(request.decided_by),
        }
    }
}

impl From<credit_limits::CreditLimit> for pb::CreditLimit {
    fn from(limit: credit_limits::CreditLimit) -> Self {
        Self {
            limit: Some(to_wire(limit.limit_nanos)),
            end_time: limit.ends_at.map(timestamp),
            set_time: Some(timestamp(limit.set_at)),
            set_by: text(limit.set_by),
            credit_limit_request_id: limit
                .credit_limit_request_id
                .map(|id| id.to_string())
                .unwrap_or_default(),
        }
    }
}

impl From<Credit> for pb::Credit {
    fn from(credit: Credit) -> Self {
        Self {
            limit: Some(to_wire(credit.limit)),
            limit_end_time: credit.ends_at.map(timestamp),
            owed: Some(to_wire(credit.owed)),
            due_time: credit.due_at.map(timestamp),
            overdue: Some(to_wire(credit.overdue)),
        }
    }
}
