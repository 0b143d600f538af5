use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, header::HeaderMap};
use serde_json::Value;

/// The JSON form of the API: `POST /<package.Service>/<Method>`.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    client: Client,
}

/// What was asked was not done.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The edge cannot be reached, or the connection broke.
    #[error("{method} was not answered")]
    Transport {
        /// What was asked.
        method: String,
        /// Why not.
        source: reqwest::Error,
    },
    /// The platform refused.
    #[error("{method} was refused: {status} {reason} {body}")]
    Refused {
        /// What was asked.
        method: String,
        /// The HTTP status.
        status: u16,
        /// The reason of `ErrorInfo`, or the code of an OpenAI error; empty where there is none.
        reason: String,
        /// The whole answer.
        body: Value,
    },
    /// What was waited for did not come.
    #[error("{0} did not come in time")]
    Late(String),
    /// The answer lacks something.
    #[error("the answer has no {0}")]
    Lacks(String),
}

impl ApiError {
    /// The reason that the platform gave; empty where it gave none.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused { reason, .. } => reason,
            _ => "",
        }
    }

    /// The HTTP status of a refusal; 0 where there was no answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Refused { status, .. } => *status,
            _ => 0,
        }
    }
}

impl Api {
    /// A client of the platform at a public address.
    #[must_use]
    pub fn new(base: &str) -> Self {
        // reqwest is built without a provider; whoever comes first installs ours.
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .ok();
        let client = Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(120))
            .build()
            .expect("a plain client can be built");
        Self {
            base: base.trim_end_matches('/').to_owned(),
            client,
        }
    }

    /// The public address.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The HTTP client, for requests of another form.
    #[must_use]
    pub fn http(&self) -> &Client {
        &self.client
    }

    /// Calls a method: `wanwu.identity.v1.SessionService/SignIn`.
    ///
    /// # Errors
    /// When it is not answered or refused.
    pub async fn call(
        &self,
        method: &str,
        bearer: Option<&str>,
        body: Value,
    ) -> Result<Value, ApiError> {
        self.call_with_headers(method, bearer, body)
            .await
            .map(|(body, _)| body)
    }

    /// As [`call`](Self::call), with the headers of the answer.
    ///
    /// # Errors
    /// When it is not answered or refused.
    pub async fn call_with_headers(
        &self,
        method: &str,
        bearer: Option<&str>,
        body: Value,
    ) -> Result<(Value, HeaderMap), ApiError> {
        let mut request = self.request(method, &body);
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        sent(method, request).await
    }

    /// Calls a method that every service answers, of one of them.
    ///
    /// # Errors
    /// When it is not answered or refused.
    pub async fn call_service(
        &self,
        service: &str,
        method: &str,
        bearer: &str,
        body: Value,
    ) -> Result<Value, ApiError> {
        let request = self.request(method, &body).bearer_auth(bearer);
        let request = request.header("target-service", service);
        sent(method, request).await.map(|(body, _)| body)
    }

    fn request(&self, method: &str, body: &Value) -> RequestBuilder {
        self.client
            .post(format!("{}/{method}", self.base))
            .json(body)
    }
}

async fn sent(method: &str, request: RequestBuilder) -> Result<(Value, HeaderMap), ApiError> {
    let transport = |source| ApiError::Transport {
        method: method.to_owned(),
        source,
    };
    let response = accepted(method, request.send().await.map_err(transport)?).await?;
    let headers = response.headers().clone();
    Ok((response.json().await.map_err(transport)?, headers))
}

/// Turns an answer that is no success into the refusal that it tells.
pub(crate) async fn accepted(method: &str, response: Response) -> Result<Response, ApiError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let text = response.text().await.unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    let reason = reason(&body);
    Err(ApiError::Refused {
        method: method.to_owned(),
        status,
        reason,
        body,
    })
}

/// The reason in a `google.rpc.Status` (`details[].reason`) or an OpenAI error (`error.code`).
fn reason(body: &Value) -> String {
    let details = body["details"]
        .as_array()
        .or_else(|| body["error"]["details"].as_array());
    let of_details = details
        .into_iter()
        .flatten()
        .find_map(|detail| detail["reason"].as_str());
    of_details
        .or_else(|| body["error"]["code"].as_str())
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reason_is_found_in_both_shapes() {
        let status = json!({"code": 9, "details": [{"@type": "x"}, {"reason": "CODE_INVALID"}]});
        assert_eq!(reason(&status), "CODE_INVALID");
        assert_eq!(
            reason(&json!({"error": {"code": "invalid_api_key"}})),
            "invalid_api_key"
        );
        assert_eq!(reason(&json!("bad gateway")), "");
    }
}
