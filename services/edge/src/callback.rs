//! `POST /payments/{wechat,alipay}/callback`: handed to billing unread. Only billing can tell
//! whether it is true.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use prost::Message;
use serde_json::json;
use tonic::{Status, body::Body};
use wanwu_proto::billing::v1::{
    ReceiveAlipayCallbackRequest, ReceiveAlipayCallbackResponse, ReceiveWeChatPayCallbackRequest,
    ReceiveWeChatPayCallbackResponse,
};

use crate::{edge::Edge, refusal_json, refusal_json::json_response, upstream::Call, visit::Visit};

/// Where WeChat Pay calls back.
pub const WECHAT: &str = "/payments/wechat/callback";
/// Where Alipay calls back.
pub const ALIPAY: &str = "/payments/alipay/callback";
const WECHAT_METHOD: &str = "/wanwu.billing.v1.PaymentCallbackService/ReceiveWeChatPayCallback";
const ALIPAY_METHOD: &str = "/wanwu.billing.v1.PaymentCallbackService/ReceiveAlipayCallback";
const BILLING: &str = "billing";
/// The provider waits 5 seconds for an answer.
const TIMEOUT: Duration = Duration::from_millis(4500);
/// The longest header that is handed on, in bytes; a signature has 344.
const MAX_VALUE: usize = 2048;
const MAX_ANSWER: usize = 64 << 10;

/// Hands a callback to billing and its answer back. The edge calls as itself: there is no caller
/// whose right could be checked.
pub async fn relay(edge: &Edge, visit: &mut Visit) -> Result<Response<Body>, Status> {
    let body = visit
        .read(edge.limits.max_callback_body, &edge.limits)
        .await?;
    let body = body.into_bytes().to_vec();
    if visit.parts.uri.path() == ALIPAY {
        let request = ReceiveAlipayCallbackRequest { body };
        let answer: ReceiveAlipayCallbackResponse =
            ask(edge, visit, ALIPAY_METHOD, &request).await?;
        return Ok(response(answer.http_status, answer.body, "text/plain"));
    }
    let headers = &visit.parts.headers;
    let request = ReceiveWeChatPayCallbackRequest {
        serial: value(headers, "wechatpay-serial"),
        timestamp: value(headers, "wechatpay-timestamp"),
        nonce: value(headers, "wechatpay-nonce"),
        signature: value(headers, "wechatpay-signature"),
        body,
    };
    let answer: ReceiveWeChatPayCallbackResponse =
        ask(edge, visit, WECHAT_METHOD, &request).await?;
    Ok(response(
        answer.http_status,
        answer.body,
        "application/json",
    ))
}

async fn ask<T: Message + Default + 'static>(
    edge: &Edge,
    visit: &mut Visit,
    path: &'static str,
    request: &(impl Message + 'static),
) -> Result<T, Status> {
    visit.forwarded();
    let call = Call {
        channel: edge.upstream.service(BILLING)?,
        path,
        principal: None,
        request_id: &visit.arrival.request_id,
        timeout: TIMEOUT,
        affinity: None,
    };
    call.ask(request, MAX_ANSWER).await
}

fn response(http_status: i32, body: Vec<u8>, content_type: &'static str) -> Response<Body> {
    let status = u16::try_from(http_status).ok();
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.filter(|status| status.as_u16() >= 200);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !body.is_empty() {
        let content_type = HeaderValue::from_static(content_type);
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        *response.body_mut() = Body::new(Full::from(body));
    }
    response
}

/// What the provider is told when billing cannot be asked: it comes again.
#[must_use]
pub fn failed(status: &Status) -> Response<Body> {
    let http_status = refusal_json::response(status).status();
    json_response(
        http_status,
        &json!({"code": "FAIL", "message": status.message()}),
    )
}

/// A header's text; one that is missing or no text is empty, and billing refuses it.
fn value(headers: &HeaderMap, name: &str) -> String {
    let text = headers.get(name).and_then(|value| value.to_str().ok());
    text.filter(|text| text.len() <= MAX_VALUE)
        .unwrap_or_default()
        .to_owned()
}
