use std::{io, time::Duration};

use axum::body::Bytes;
use futures::Stream;
use serde_json::{Value, json};

use super::{
    Call, Script, StreamOptions,
    truth::{Ending, Record},
};

/// Usage as the API writes it.
pub(super) fn usage(script: &Script, prompt: u64, completion: u64) -> Value {
    let mut usage = json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    });
    if let Some(cached) = script.cached {
        usage["prompt_tokens_details"] = json!({"cached_tokens": cached});
    }
    if let Some(reasoning) = script.reasoning {
        // The reasoning comes first; a running usage tells how much there is so far.
        let so_far = reasoning.min(completion);
        usage["completion_tokens_details"] = json!({"reasoning_tokens": so_far});
    }
    usage
}

/// The frames of a streamed answer.
pub(super) struct Frames {
    tokens: Vec<String>,
    finish: String,
    script: Script,
    options: StreamOptions,
    record: Record,
}

impl Frames {
    pub(super) fn new(text: &[String], finish: &str, call: &Call, record: Record) -> Self {
        Self {
            tokens: text.to_vec(),
            finish: finish.to_owned(),
            script: call.wanwu_script.clone(),
            options: call.stream_options,
            record,
        }
    }

    fn chunk(&self, delta: &Value, finish: Option<&str>, sent: u64) -> Bytes {
        let mut chunk = json!({
            "id": "chatcmpl-scripted",
            "object": "chat.completion.chunk",
            "created": 1_764_000_000,
            "model": "scripted",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        });
        if self.options.continuous_usage_stats && !self.script.no_usage {
            chunk["usage"] = usage(&self.script, self.record.prompt_tokens(), sent);
        }
        frame(&chunk)
    }

    pub(super) fn into_stream(mut self) -> impl Stream<Item = io::Result<Bytes>> {
        async_stream::stream! {
            pause(self.script.first_delay_ms).await;
            yield Ok(self.chunk(&json!({"role": "assistant", "content": ""}), None, 0));
            let mut sent = 0;
            for index in 0..self.tokens.len() {
                if self.script.cut_after == Some(sent as u32) {
                    self.record.end(Ending::Cut);
                    // What was given away leaves before the connection breaks.
                    pause(50).await;
                    yield Err(io::Error::other("as scripted"));
                    return;
                }
                if self.script.garbage_after == Some(sent as u32) {
                    yield Ok(Bytes::from_static(b"data: <html>\xff\n\n"));
                }
                if self.script.hang_after == Some(sent as u32) {
                    std::future::pending::<()>().await;
                }
                pause(self.script.delay_ms).await;
                sent += 1;
                let content = self.tokens[index].clone();
                // Counted before it is given away: what the peer has got is never above this.
                self.record.sent(sent);
                yield Ok(self.chunk(&json!({"content": content}), None, sent));
            }
            yield Ok(self.chunk(&json!({}), Some(&self.finish), sent));
            if self.options.include_usage && !self.script.no_usage {
                let last = json!({
                    "id": "chatcmpl-scripted",
                    "object": "chat.completion.chunk",
                    "created": 1_764_000_000,
                    "model": "scripted",
                    "choices": [],
                    "usage": usage(&self.script, self.record.prompt_tokens(), sent),
                });
                yield Ok(frame(&last));
            }
            // Ended before the peer can see the end: who reads it finds it written down.
            self.record.end(Ending::Finished);
            yield Ok(Bytes::from_static(b"data: [DONE]\n\n"));
        }
    }
}

fn frame(value: &Value) -> Bytes {
    Bytes::from(format!("data: {value}\n\n"))
}

async fn pause(millis: u64) {
    if millis > 0 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}
