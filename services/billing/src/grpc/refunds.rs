use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_proto::billing::v1::{
    ApproveRefundRequest, ApproveRefundResponse, ListRefundsRequest, ListRefundsResponse,
    RefundState, RefuseRefundRequest, RefuseRefundResponse, RequestRefundRequest,
    RequestRefundResponse, RetryRefundRequest, RetryRefundResponse,
    refund_service_server::RefundService,
};

use super::{Handlers, id, page};
use crate::{
    commands::RequestRefund,
    domain::{
        money::top_up_fen,
        refund::{Reason, State},
    },
    error::Error,
    store::refunds::Filter,
};

/// The longest number of a case.
const MAX_CASE: usize = 64;

/// The reason, when it may be requested and the case found what it needs.
fn reason(request: &RequestRefundRequest) -> Result<Reason, Error> {
    let reason = Reason::from_wire(request.reason())
        .filter(|reason| reason.is_requested())
        .ok_or_else(|| Error::invalid("reason", "is not one that can be requested"))?;
    if reason == Reason::InfringementDispute && !request.service_unusable {
        let what = "must be found for a dispute (T3.3.4)";
        return Err(Error::invalid("service_unusable", what));
    }
    Ok(reason)
}

pub(super) fn case_id(text: &str) -> Result<String, Error> {
    number("case_id", text)
}

/// The number of a case or a contract.
pub(super) fn number(field: &'static str, text: &str) -> Result<String, Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
    if text.is_empty() || text.len() > MAX_CASE || !text.bytes().all(allowed) {
        let what = "must be 1 to 64 letters, digits, `-`, `_`, `/`";
        return Err(Error::invalid(field, what));
    }
    Ok(text.to_owned())
}

#[tonic::async_trait]
impl RefundService for Handlers {
    async fn request_refund(
        &self,
        request: Request<RequestRefundRequest>,
    ) -> Result<Response<RequestRefundResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let amount = request.amount.clone().unwrap_or_default();
        if request.evidence_sha256.len() != 32 {
            return Err(Error::invalid("evidence_sha256", "must be 32 bytes").into());
        }
        let command = RequestRefund {
            operator_id,
            request_id: id("request_id", &request.request_id)?,
            body: self.0.body_key.mac(&request),
            order_id: id("order_id", &request.order_id)?,
            amount_fen: top_up_fen(&amount)
                .map_err(|error| Error::invalid("amount", error.to_string()))?,
            reason: reason(&request)?,
            case_id: case_id(&request.case_id)?,
            evidence_sha256: request.evidence_sha256,
        };
        let refund = self.0.request_refund(command).await?;
        Ok(Response::new(RequestRefundResponse {
            refund: Some(refund.into()),
        }))
    }

    async fn approve_refund(
        &self,
        request: Request<ApproveRefundRequest>,
    ) -> Result<Response<ApproveRefundResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let refund_id = id("refund_id", &request.get_ref().refund_id)?;
        let refund = self.0.approve_refund(operator_id, refund_id).await?;
        Ok(Response::new(ApproveRefundResponse {
            refund: Some(refund.into()),
        }))
    }

    async fn refuse_refund(
        &self,
        request: Request<RefuseRefundRequest>,
    ) -> Result<Response<RefuseRefundResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let refund_id = id("refund_id", &request.get_ref().refund_id)?;
        let refund = self.0.refuse_refund(operator_id, refund_id).await?;
        Ok(Response::new(RefuseRefundResponse {
            refund: Some(refund.into()),
        }))
    }

    async fn retry_refund(
        &self,
        request: Request<RetryRefundRequest>,
    ) -> Result<Response<RetryRefundResponse>, Status> {
        let refund_id = id("refund_id", &request.get_ref().refund_id)?;
        let refund = self.0.retry_refund(refund_id).await?;
        Ok(Response::new(RetryRefundResponse {
            refund: Some(refund.into()),
        }))
    }

    async fn list_refunds(
        &self,
        request: Request<ListRefundsRequest>,
    ) -> Result<Response<ListRefundsResponse>, Status> {
        let request = request.into_inner();
        let order_id = match request.order_id.as_str() {
            "" => None,
            text => Some(id("order_id", text)?),
        };
        let state = match request.state() {
            RefundState::Unspecified => None,
            state => State::from_wire(state),
        };
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.refunds(Filter { order_id, state }, &page).await?;
        Ok(Response::new(ListRefundsResponse {
            refunds: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}
