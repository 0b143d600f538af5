use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::{ApiError, Journey, api::accepted};

const PATH: &str = "v1/chat/completions";

/// What came back from a call of a model.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The text, put together.
    pub text: String,
    /// `usage` of the last chunk that had one.
    pub usage: Value,
    /// The label of the first chunk that had one.
    pub label: Value,
    /// The call.
    pub call_id: String,
    /// The trace (32 hex digits).
    pub trace_id: String,
    /// The request.
    pub request_id: String,
    /// Why it ended: `stop`, `length`, `content_filter`.
    pub finish_reason: String,
    /// From the request to the first text.
    pub first_text: Duration,
    /// From the request to the end.
    pub whole: Duration,
    /// How many chunks came.
    pub chunks: usize,
    /// `[DONE]` came.
    pub done: bool,
    /// An error event came instead.
    pub error: Option<Value>,
}

/// What happens while an answer comes.
#[derive(Clone, Copy, Debug)]
pub enum Chunk<'a> {
    /// A piece of the text.
    Text(&'a str),
    /// Any chunk, whole.
    Whole(&'a Value),
}

/// The body of a call with one question.
#[must_use]
pub fn prompt(model: &str, question: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": question}]})
}

impl Journey {
    /// Calls a model without streaming.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn chat(&self, body: Value) -> Result<Answer, ApiError> {
        let begin = Instant::now();
        let (response, mut answer) = self.begin_chat(body).await?;
        let body: Value = response.json().await.map_err(transport)?;
        answer.whole = begin.elapsed();
        answer.first_text = answer.whole;
        let text = body["choices"][0]["message"]["content"].as_str();
        answer.text = text.unwrap_or_default().to_owned();
        let reason = body["choices"][0]["finish_reason"].as_str();
        answer.finish_reason = reason.unwrap_or_default().to_owned();
        answer.usage = body["usage"].clone();
        answer.label = body["aigc"].clone();
        answer.take_call_id();
        Ok(answer)
    }

    /// Calls a model and gives what comes as it comes.
    ///
    /// # Errors
    /// When it is refused before the first chunk, or the connection breaks.
    pub async fn chat_stream(
        &self,
        mut body: Value,
        mut seen: impl FnMut(Chunk<'_>),
    ) -> Result<Answer, ApiError> {
        body["stream"] = json!(true);
        if body.get("stream_options").is_none() {
            body["stream_options"] = json!({"include_usage": true});
        }
        let begin = Instant::now();
        let (response, mut answer) = self.begin_chat(body).await?;
        let mut bytes = response.bytes_stream();
        let mut buffer = Vec::new();
        while let Some(part) = bytes.next().await {
            buffer.extend_from_slice(&part.map_err(transport)?);
            while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = buffer.drain(..end + 2).collect();
                answer.take_event(&event, begin, &mut seen);
            }
        }
        answer.whole = begin.elapsed();
        answer.take_call_id();
        Ok(answer)
    }

    async fn begin_chat(&self, body: Value) -> Result<(reqwest::Response, Answer), ApiError> {
        let url = format!("{}/{PATH}", self.api.base());
        let request = self
            .api
            .http()
            .post(url)
            .bearer_auth(self.secret())
            .json(&body);
        let response = accepted(PATH, request.send().await.map_err(transport)?).await?;
        let answer = Answer::of_headers(response.headers());
        Ok((response, answer))
    }
}

impl Answer {
    fn of_headers(headers: &HeaderMap) -> Self {
        let header = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        Self {
            call_id: header("wanwu-call-id"),
            trace_id: header("wanwu-trace-id"),
            request_id: header("wanwu-request-id"),
            ..Self::default()
        }
    }

    /// The call's id is the label's ProduceID, where no header told it.
    fn take_call_id(&mut self) {
        if self.call_id.is_empty()
            && let Some(id) = self.label["ProduceID"].as_str()
        {
            self.call_id = id.to_owned();
        }
    }

    fn take_event(&mut self, event: &[u8], begin: Instant, seen: &mut impl FnMut(Chunk<'_>)) {
        let event = String::from_utf8_lossy(event);
        for data in event.lines().filter_map(|line| line.strip_prefix("data:")) {
            if data.trim() == "[DONE]" {
                self.done = true;
                continue;
            }
            let Ok(chunk) = serde_json::from_str::<Value>(data) else {
                continue;
            };
            if chunk.get("error").is_some() {
                self.error = Some(chunk["error"].clone());
                continue;
            }
            self.take_chunk(&chunk, begin, seen);
        }
    }

    fn take_chunk(&mut self, chunk: &Value, begin: Instant, seen: &mut impl FnMut(Chunk<'_>)) {
        self.chunks += 1;
        seen(Chunk::Whole(chunk));
        if self.label.is_null() {
            self.label = chunk["aigc"].clone();
        }
        if !chunk["usage"].is_null() {
            self.usage = chunk["usage"].clone();
        }
        let choice = &chunk["choices"][0];
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.finish_reason = reason.to_owned();
        }
        if let Some(text) = choice["delta"]["content"]
            .as_str()
            .filter(|text| !text.is_empty())
        {
            if self.text.is_empty() {
                self.first_text = begin.elapsed();
            }
            self.text.push_str(text);
            seen(Chunk::Text(text));
        }
    }
}

fn transport(source: reqwest::Error) -> ApiError {
    ApiError::Transport {
        method: PATH.to_owned(),
        source,
    }
}
