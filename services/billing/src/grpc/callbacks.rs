use tonic::{Request, Response, Status};
use wanwu_proto::billing::v1::{
    ReceiveAlipayCallbackRequest, ReceiveAlipayCallbackResponse, ReceiveWeChatPayCallbackRequest,
    ReceiveWeChatPayCallbackResponse, payment_callback_service_server::PaymentCallbackService,
};

use super::Handlers;
use crate::providers::wechat_pay::Signed;

#[tonic::async_trait]
impl PaymentCallbackService for Handlers {
    async fn receive_we_chat_pay_callback(
        &self,
        request: Request<ReceiveWeChatPayCallbackRequest>,
    ) -> Result<Response<ReceiveWeChatPayCallbackResponse>, Status> {
        let request = request.into_inner();
        let answer = self
            .0
            .receive_wechat_pay_callback(Signed {
                serial: &request.serial,
                timestamp: &request.timestamp,
                nonce: &request.nonce,
                signature: &request.signature,
                body: &request.body,
            })
            .await;
        Ok(Response::new(ReceiveWeChatPayCallbackResponse {
            http_status: i32::from(answer.http_status),
            body: answer.body,
        }))
    }

    async fn receive_alipay_callback(
        &self,
        request: Request<ReceiveAlipayCallbackRequest>,
    ) -> Result<Response<ReceiveAlipayCallbackResponse>, Status> {
        let answer = self
            .0
            .receive_alipay_callback(&request.get_ref().body)
            .await;
        Ok(Response::new(ReceiveAlipayCallbackResponse {
            http_status: i32::from(answer.http_status),
            body: answer.body,
        }))
    }
}
