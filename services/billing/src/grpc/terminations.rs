use chrono::DateTime;
use tonic::{Request, Response, Status};
use uuid::Uuid;
use wanwu_access::caller;
use wanwu_proto::billing::v1::{
    self as pb, ApproveTerminationRequest, ApproveTerminationResponse, GetTerminationRequest,
    GetTerminationResponse, ListTerminationsRequest, ListTerminationsResponse,
    RequestTerminationRequest, RequestTerminationResponse, WithdrawTerminationRequest,
    WithdrawTerminationResponse, termination_service_server::TerminationService,
};

use super::{Handlers, case_id, id, page};
use crate::{
    commands::RequestTermination,
    convert::timestamp,
    domain::money::{NANOS_PER_FEN, to_wire},
    error::Error,
    store::terminations::{Compensation, Termination},
};

#[tonic::async_trait]
impl TerminationService for Handlers {
    async fn request_termination(
        &self,
        request: Request<RequestTerminationRequest>,
    ) -> Result<Response<RequestTerminationResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let end = request.end_time.as_ref();
        let end = end.and_then(|end| DateTime::from_timestamp(end.seconds, 0));
        let command = RequestTermination {
            operator_id,
            request_id: id("request_id", &request.request_id)?,
            body: self.0.body_key.mac(&request),
            account_id: id("account_id", &request.account_id)?,
            ends_at: end.ok_or_else(|| Error::invalid("end_time", "is not an instant"))?,
            case_id: case_id(&request.case_id)?,
        };
        let termination = self.0.request_termination(command).await?;
        Ok(Response::new(RequestTerminationResponse {
            termination: Some(wire(termination, Vec::new())),
        }))
    }

    async fn approve_termination(
        &self,
        request: Request<ApproveTerminationRequest>,
    ) -> Result<Response<ApproveTerminationResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let id = id::<Uuid>("termination_id", &request.get_ref().termination_id)?;
        let termination = self.0.approve_termination(operator_id, id).await?;
        Ok(Response::new(ApproveTerminationResponse {
            termination: Some(wire(termination, Vec::new())),
        }))
    }

    async fn withdraw_termination(
        &self,
        request: Request<WithdrawTerminationRequest>,
    ) -> Result<Response<WithdrawTerminationResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let id = id::<Uuid>("termination_id", &request.get_ref().termination_id)?;
        let termination = self.0.withdraw_termination(operator_id, id).await?;
        Ok(Response::new(WithdrawTerminationResponse {
            termination: Some(wire(termination, Vec::new())),
        }))
    }

    async fn get_termination(
        &self,
        request: Request<GetTerminationRequest>,
    ) -> Result<Response<GetTerminationResponse>, Status> {
        let id = id::<Uuid>("termination_id", &request.get_ref().termination_id)?;
        let (termination, compensations) = self.0.termination(id).await?;
        Ok(Response::new(GetTerminationResponse {
            termination: Some(wire(termination, compensations)),
        }))
    }

    async fn list_terminations(
        &self,
        request: Request<ListTerminationsRequest>,
    ) -> Result<Response<ListTerminationsResponse>, Status> {
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.terminations(&page).await?;
        let terminations = page.items.into_iter();
        Ok(Response::new(ListTerminationsResponse {
            terminations: terminations.map(|it| wire(it, Vec::new())).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}

fn wire(termination: Termination, compensations: Vec<Compensation>) -> pb::Termination {
    let decided_by = termination.decided_by.map(|id| id.to_string());
    pb::Termination {
        termination_id: termination.termination_id.to_string(),
        account_id: termination.account_id.to_string(),
        state: pb::TerminationState::from(termination.state).into(),
        case_id: termination.case_id,
        end_time: Some(timestamp(termination.ends_at)),
        notice_time: termination.noticed_at.map(timestamp),
        requested_by: termination.requested_by.to_string(),
        decided_by: decided_by.unwrap_or_default(),
        compensations: compensations.into_iter().map(Into::into).collect(),
        by_bank: Some(to_wire(termination.by_bank_nanos)),
    }
}

impl From<Compensation> for pb::Compensation {
    fn from(compensation: Compensation) -> Self {
        let fen = |fen: i64| Some(to_wire(fen * NANOS_PER_FEN));
        let refund_id = compensation.refund_id.map(|id| id.to_string());
        Self {
            order_id: compensation.order_id.to_string(),
            paid: fen(compensation.paid_fen),
            refunded: fen(compensation.refunded_fen),
            unspent: Some(to_wire(compensation.unspent_nanos)),
            amount: fen(compensation.amount_fen),
            refund_id: refund_id.unwrap_or_default(),
        }
    }
}
