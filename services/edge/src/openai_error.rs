//! A status as OpenAI's clients expect errors: one table of every reason that can reach them.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use tonic::{Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt};

use crate::refusal_json::{http_status, json_response, reason, retry_after};

/// How one reason looks.
struct Row {
    reason: &'static str,
    status: u16,
    /// What OpenAI calls this class of errors.
    kind: &'static str,
    /// OpenAI's code; empty: the reason in lower case.
    code: &'static str,
    chinese: &'static str,
    english: &'static str,
    /// The service's own message says more: where a body is wrong, what an engine answered.
    says_more: bool,
}

/// The official clients retry 429 and 5xx unless this header says `false`.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

const REQUEST: &str = "invalid_request_error";
const DENIED: &str = "permission_error";
const SERVER: &str = "server_error";

const fn row(
    reason: &'static str,
    (status, kind, code): (u16, &'static str, &'static str),
    chinese: &'static str,
    english: &'static str,
) -> Row {
    Row {
        reason,
        status,
        kind,
        code,
        chinese,
        english,
        says_more: false,
    }
}

const fn explained(
    reason: &'static str,
    code: &'static str,
    chinese: &'static str,
    english: &'static str,
) -> Row {
    Row {
        reason,
        status: 400,
        kind: REQUEST,
        code,
        chinese,
        english,
        says_more: true,
    }
}

const fn limited(reason: &'static str, chinese: &'static str, english: &'static str) -> Row {
    Row {
        reason,
        status: 429,
        kind: "requests",
        code: "rate_limit_exceeded",
        chinese,
        english,
        says_more: true,
    }
}

#[rustfmt::skip]
const TABLE: [Row; 42] = [
    row("UNAUTHENTICATED", (401, REQUEST, "invalid_api_key"), "缺少 API 密钥", "An API key is needed"),
    row("INVALID_CREDENTIAL", (401, REQUEST, "invalid_api_key"), "API 密钥无效、已过期或已吊销", "The API key is not valid, expired or revoked"),
    row("NOT_ALLOWED", (403, DENIED, ""), "该凭证不能调用此接口", "This credential may not call this endpoint"),
    row("SCOPE_MISSING", (403, DENIED, ""), "该密钥没有此能力的权限", "The key lacks the scope of this capability"),
    row("NETWORK_NOT_ALLOWED", (403, DENIED, ""), "服务仅面向中国大陆网络", "The service is for networks in mainland China"),
    row("AGREEMENTS_NOT_ACCEPTED", (403, DENIED, ""), "尚未同意当前版本的协议", "The current agreements are not accepted"),
    row("CONSENT_WITHDRAWN", (403, DENIED, ""), "已撤回对个人信息处理的同意", "The consent to the processing is withdrawn"),
    row("REAL_NAME_REQUIRED", (403, DENIED, ""), "账号尚未完成实名认证", "The account's real name is not verified"),
    row("GUARDIAN_CONSENT_REQUIRED", (403, DENIED, ""), "需要监护人先行同意", "A guardian has to consent first"),
    row("AGE_REFUSED", (403, DENIED, ""), "不向八周岁以下儿童提供服务", "The service is not for children under 8"),
    row("ACCOUNT_SUSPENDED", (403, DENIED, ""), "账号已被暂停使用", "The account is suspended"),
    row("ACCOUNT_CLOSED", (403, DENIED, ""), "账号已注销", "The account is closed"),
    row("DEVICE_LICENCE_REQUIRED", (403, DENIED, ""), "该应用要求使用已授权的设备", "The app demands a licensed device"),
    row("PRINCIPAL_FORGED", (403, DENIED, ""), "调用身份无效", "The caller is not who it says"),
    row("INSUFFICIENT_BALANCE", (429, "insufficient_quota", "insufficient_quota"), "账户余额不足，请充值", "The balance does not cover this call; top up"),
    row("BUDGET_EXHAUSTED", (429, "insufficient_quota", "insufficient_quota"), "应用或密钥的预算已用完", "The budget of the app or of the key does not cover this call"),
    row("BUSY", (429, "requests", "rate_limit_exceeded"), "请求过多，请稍后重试", "Too many requests; try again later"),
    limited("LIMIT_REACHED", "已达到该账号、应用或密钥的限额，请稍后重试", "A limit of the account, the app or the key is reached; try again later"),
    row("RATE_LIMITED", (429, "requests", "rate_limit_exceeded"), "请求过多，请稍后重试", "Too many requests; try again later"),
    row("MODEL_NOT_FOUND", (404, REQUEST, "model_not_found"), "模型不存在", "There is no such model"),
    row("MODEL_RETIRED", (404, REQUEST, "model_not_found"), "该模型已停止服务", "The model is not served any more"),
    Row { status: 404, ..explained("SHAPE_NOT_SERVED", "", "该模型不支持此接口", "The model does not answer this kind of request") },
    row("ROUTE_CHANGED", (409, REQUEST, ""), "路由已被他人修改，请重新读取", "The route was changed meanwhile; read it again"),
    row("NOT_FOUND", (404, REQUEST, ""), "对象不存在", "There is no such object"),
    row("UNKNOWN_METHOD", (404, REQUEST, "unknown_url"), "接口不存在", "There is no such endpoint"),
    row("TOO_LARGE", (413, REQUEST, "request_too_large"), "请求体过大", "The body is too large"),
    row("REQUEST_TOO_SLOW", (408, REQUEST, ""), "请求体发送过慢", "The body came too slowly"),
    row("CONTENT_REFUSED", (400, REQUEST, "content_filter"), "输入内容未通过安全审核", "The content screen refused the input"),
    explained("INVALID_BODY", "invalid_body", "请求体无效", "The body is not valid"),
    explained("INVALID_ARGUMENT", "invalid_argument", "请求无效", "The request is not valid"),
    explained("UNBOUNDED_COST", "unbounded_cost", "请求中含有费用无法确定上限的内容", "A part of the request has a cost without a bound"),
    explained("STATE_NOT_KEPT", "state_not_kept", "平台不在请求之间保存内容", "Nothing is kept between requests"),
    explained("ENGINE_REFUSED", "engine_refused", "模型引擎拒绝了该请求", "The engine refused the request"),
    row("DUPLICATE_CALL", (409, REQUEST, "duplicate_call"), "该 Idempotency-Key 在 24 小时内已使用", "The Idempotency-Key was used in the last 24 hours"),
    row("REQUEST_ID_REUSED", (409, REQUEST, ""), "该 request_id 已用于其他请求", "The request_id was used with another body"),
    row("ENGINE_UNAVAILABLE", (503, SERVER, ""), "模型引擎暂不可用，请稍后重试", "No engine of the model answers; try again"),
    row("JOURNAL_UNAVAILABLE", (503, SERVER, ""), "暂时无法记录调用，请稍后重试", "The call could not be journalled; try again"),
    row("STANDING_UNKNOWN", (503, SERVER, ""), "暂时无法确认账号状态，请稍后重试", "The account's standing could not be established; try again"),
    row("PROVIDER_UNAVAILABLE", (503, SERVER, ""), "外部服务暂不可用，请稍后重试", "A provider does not answer; try again"),
    row("UNAVAILABLE", (503, SERVER, ""), "服务暂不可用，请稍后重试", "The service is not available; try again"),
    row("DEADLINE_EXCEEDED", (504, SERVER, ""), "请求超时", "The deadline passed"),
    row("INTERNAL", (500, SERVER, "internal_error"), "内部错误，请提供 request id 以便排查", "An internal error; the id of the request leads to it"),
];

/// The answer to a client of OpenAI's API.
#[must_use]
pub fn response(status: &Status) -> Response<Body> {
    let details = status.get_error_details();
    let (http_status, body) = describe(status, &details);
    let mut response = json_response(http_status, &body);
    let headers = response.headers_mut();
    if is_final(reason(&details)) {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if let Some(seconds) = again_after(http_status, &details) {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// The error as the last event of a stream that had begun: `retry_after` says what the header would.
#[must_use]
pub fn event(status: &Status) -> String {
    let details = status.get_error_details();
    let (http_status, mut body) = describe(status, &details);
    if let Some(seconds) = again_after(http_status, &details) {
        body["error"]["retry_after"] = seconds.into();
    }
    body.to_string()
}

/// Nothing is won by asking again: more money does not come by it, and of a call that was made the same key is
/// refused for a day.
fn is_final(reason: &str) -> bool {
    matches!(
        reason,
        "INSUFFICIENT_BALANCE" | "BUDGET_EXHAUSTED" | "DUPLICATE_CALL" | "REQUEST_ID_REUSED"
    )
}

/// Whole seconds after which the client is told to ask again.
fn again_after(http_status: StatusCode, details: &ErrorDetails) -> Option<u64> {
    if is_final(reason(details)) {
        return None;
    }
    let usual = matches!(http_status.as_u16(), 429 | 503).then_some(1);
    retry_after(details).or(usual)
}

fn describe(status: &Status, details: &ErrorDetails) -> (StatusCode, Value) {
    let reason = reason(details);
    let Some(row) = TABLE.iter().find(|row| row.reason == reason) else {
        return unknown(status, reason);
    };
    let code = if row.code.is_empty() {
        reason.to_ascii_lowercase()
    } else {
        row.code.to_owned()
    };
    let mut message = format!("{} / {}", row.chinese, row.english);
    if row.says_more {
        message = format!("{message}: {}", status.message());
    }
    let violation = details
        .bad_request()
        .and_then(|bad| bad.field_violations.first());
    let param = violation.map(|violation| {
        let field = violation.field.as_str();
        field.strip_prefix("body.").unwrap_or(field).to_owned()
    });
    let param = match reason {
        "MODEL_NOT_FOUND" | "MODEL_RETIRED" | "SHAPE_NOT_SERVED" => Some("model".to_owned()),
        _ => param,
    };
    // OpenAI names what ran out: its clients' users look for it.
    let of_tokens = details.error_info().is_some_and(|info| {
        info.metadata.get("limit").map(String::as_str) == Some("tokens_per_minute")
    });
    let kind = if of_tokens { "tokens" } else { row.kind };
    let body = json!({"error": {
        "message": message, "type": kind, "param": param, "code": code,
    }});
    (
        StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        body,
    )
}

/// A reason that is younger than this build.
fn unknown(status: &Status, reason: &str) -> (StatusCode, Value) {
    let http_status = http_status(status.code(), reason);
    let kind = if http_status.is_server_error() {
        SERVER
    } else {
        REQUEST
    };
    let code = (!reason.is_empty()).then(|| reason.to_ascii_lowercase());
    let body = json!({"error": {
        "message": status.message(), "type": kind, "param": null, "code": code,
    }});
    (http_status, body)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::Code;
    use wanwu_access::{Reason, refusal};

    use super::*;

    fn of_inference(code: Code, reason: &str) -> Response<Body> {
        let details = ErrorDetails::with_error_info(
            reason,
            "inference.wanwu",
            HashMap::<String, String>::new(),
        );
        response(&Status::with_error_details(code, "why", details))
    }

    #[test]
    fn every_reason_of_a_chat_call_is_in_the_table_once() {
        use wanwu_proto::inference::v1::ErrorReason as Inference;
        for reason in (1..100).filter_map(|number| Inference::try_from(number).ok()) {
            let name = reason.as_str_name().trim_start_matches("ERROR_REASON_");
            assert_eq!(
                TABLE.iter().filter(|row| row.reason == name).count(),
                1,
                "{name}"
            );
        }
        // Those that come from the edge itself; the others have the fallback.
        let common = 1..=i32::from(Reason::DeadlineExceeded);
        for number in common.chain([Reason::RequestTooSlow.into()]) {
            let name = Reason::try_from(number).unwrap().as_str_name();
            let name = name.trim_start_matches("ERROR_REASON_");
            assert_eq!(
                TABLE.iter().filter(|row| row.reason == name).count(),
                1,
                "{name}"
            );
        }
    }

    #[test]
    fn an_exhausted_balance_is_not_retried_and_a_full_queue_is() {
        for reason in ["INSUFFICIENT_BALANCE", "BUDGET_EXHAUSTED"] {
            let balance = of_inference(Code::ResourceExhausted, reason);
            assert_eq!(balance.status(), 429);
            assert_eq!(balance.headers()[SHOULD_RETRY], "false");
            assert!(!balance.headers().contains_key(header::RETRY_AFTER));
        }
        let busy = of_inference(Code::ResourceExhausted, "BUSY");
        assert_eq!(busy.status(), 429);
        assert!(!busy.headers().contains_key(SHOULD_RETRY));
        assert_eq!(busy.headers()[header::RETRY_AFTER], "1");
    }

    #[test]
    fn a_limit_that_is_reached_is_named_and_says_when_to_try_again() {
        let mut details = ErrorDetails::with_error_info(
            "LIMIT_REACHED",
            "inference.wanwu",
            HashMap::from([("limit".to_owned(), "tokens_per_minute".to_owned())]),
        );
        details.set_retry_info(Some(std::time::Duration::from_millis(2500)));
        let status = Status::with_error_details(Code::ResourceExhausted, "why", details);
        let response = response(&status);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[header::RETRY_AFTER], "3");
        let event: Value = serde_json::from_str(&event(&status)).unwrap();
        assert_eq!(event["error"]["type"], "tokens");
        assert_eq!(event["error"]["code"], "rate_limit_exceeded");
        assert_eq!(event["error"]["retry_after"], 3);
    }

    #[test]
    fn errors_have_the_shape_of_openai_in_two_languages() {
        let event: Value =
            serde_json::from_str(&event(&refusal(Reason::AccountSuspended))).unwrap();
        assert_eq!(event["error"]["code"], "account_suspended");
        assert_eq!(
            event["error"]["message"],
            "账号已被暂停使用 / The account is suspended"
        );
        assert_eq!(event["error"]["param"], Value::Null);
        assert_eq!(event["error"].get("retry_after"), None);
        assert_eq!(
            of_inference(Code::NotFound, "MODEL_NOT_FOUND").status(),
            404
        );
        assert_eq!(
            of_inference(Code::InvalidArgument, "CONTENT_REFUSED").status(),
            400
        );
        assert_eq!(of_inference(Code::Aborted, "SOMETHING_NEW").status(), 409);
    }
}
