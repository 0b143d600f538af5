use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_grpc::status;
use wanwu_proto::inference::v1::{
    Call, CallOutcome, GetCallRequest, GetCallResponse, ListCallsRequest, ListCallsResponse,
    call_service_server::CallService,
};

use super::Handlers;
use crate::{
    commands::call_log,
    store::{call_log::LoggedCall, usage_events::timestamp},
};

#[tonic::async_trait]
impl CallService for Handlers {
    async fn get_call(
        &self,
        request: Request<GetCallRequest>,
    ) -> Result<Response<GetCallResponse>, Status> {
        let account = caller(&request)?.account_id()?;
        let call = call_log::get_call(&self.pool, account, &request.get_ref().call_id);
        let call = call.await.map_err(|error| status(&error))?;
        Ok(Response::new(GetCallResponse {
            call: Some(call.into()),
        }))
    }

    async fn list_calls(
        &self,
        request: Request<ListCallsRequest>,
    ) -> Result<Response<ListCallsResponse>, Status> {
        let account = caller(&request)?.account_id()?;
        let ListCallsRequest {
            page_size,
            page_token,
        } = request.into_inner();
        let page = call_log::list_calls(&self.pool, account, page_size, &page_token);
        let page = page.await.map_err(|error| status(&error))?;
        Ok(Response::new(ListCallsResponse {
            calls: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}

impl From<LoggedCall> for Call {
    fn from(call: LoggedCall) -> Self {
        let outcome = CallOutcome::try_from(i32::from(call.outcome));
        Self {
            call_id: call.call_id.to_string(),
            app_id: call.app_id.to_string(),
            key_id: call.key_id.to_string(),
            model: call.model,
            outcome: outcome.unwrap_or_default().into(),
            input_tokens: call.input_tokens,
            output_tokens: call.output_tokens,
            dispatch_time: Some(timestamp(call.dispatched_at)),
            finish_time: call.finished_at.map(timestamp),
        }
    }
}
