//! The messages in the body of a gRPC answer, cut out without copying where they lie in one piece.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body::Body as _;
use tonic::{Code, Status, body::Body};
use wanwu_access::{Reason, refusal};
use wanwu_grpc::code_of;

/// Bytes before each message: a flag and its length.
pub const PREFIX: usize = 5;

/// Reads messages from an answer.
pub struct Messages {
    body: Body,
    /// What arrived and is not taken yet.
    chunk: Bytes,
    /// A message that is not whole yet; then `chunk` is empty.
    partial: BytesMut,
    limit: usize,
    ended: bool,
}

impl Messages {
    /// The messages of this answer, none longer than `limit`; or the status that it is instead.
    pub fn of(response: Response<Body>, limit: usize) -> Result<(HeaderMap, Self), Status> {
        let (parts, body) = response.into_parts();
        if let Some(status) = Status::from_header_map(&parts.headers)
            && status.code() != Code::Ok
        {
            return Err(status);
        }
        if parts.status != http::StatusCode::OK {
            return Err(refusal(Reason::Unavailable));
        }
        let messages = Self {
            body,
            chunk: Bytes::new(),
            partial: BytesMut::new(),
            limit,
            ended: false,
        };
        Ok((parts.headers, messages))
    }

    /// The next message; `None` after the last, when the service says that all went well.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        std::future::poll_fn(|task| self.poll_next(task)).await
    }

    /// As [`next`](Self::next), for a body of ours that is polled itself.
    pub fn poll_next(&mut self, task: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            if let Some(message) = self.take()? {
                return Poll::Ready(Ok(Some(message)));
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(task)) else {
                // An end without a status is no end: the connection broke.
                return Poll::Ready(Err(refusal(Reason::Unavailable)));
            };
            let frame = frame.map_err(|_| refusal(Reason::Unavailable))?;
            match frame.into_data() {
                Ok(data) => self.push(data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    // A status would copy all of them.
                    if code_of(&trailers) != Some(Code::Ok) {
                        let status = Status::from_header_map(&trailers);
                        let status = status.unwrap_or_else(|| refusal(Reason::Unavailable));
                        return Poll::Ready(Err(status));
                    }
                    self.ended = true;
                }
            }
        }
    }

    fn push(&mut self, data: Bytes) {
        if self.partial.is_empty() {
            self.chunk = data;
        } else {
            self.partial.extend_from_slice(&data);
        }
    }

    fn take(&mut self) -> Result<Option<Bytes>, Status> {
        if !self.partial.is_empty() {
            let missing = self.missing(&self.partial)?;
            if missing > 0 {
                self.partial.reserve(missing);
                return Ok(None);
            }
            self.chunk = self.partial.split().freeze();
        }
        let missing = self.missing(&self.chunk)?;
        if missing == 0 {
            let length = length(&self.chunk);
            self.chunk.advance(PREFIX);
            return Ok(Some(self.chunk.split_to(length)));
        }
        if !self.chunk.is_empty() {
            let chunk = std::mem::take(&mut self.chunk);
            self.partial.reserve(chunk.len() + missing);
            self.partial.extend_from_slice(&chunk);
        }
        Ok(None)
    }

    /// How many bytes are missing until a message is whole.
    fn missing(&self, bytes: &[u8]) -> Result<usize, Status> {
        if bytes.len() < PREFIX {
            return Ok(PREFIX - bytes.len());
        }
        // We never say that we understand compression.
        if bytes[0] != 0 || length(bytes) > self.limit {
            tracing::error!(
                length = length(bytes),
                flag = bytes[0],
                "an answer cannot be read"
            );
            return Err(refusal(Reason::Internal));
        }
        Ok((PREFIX + length(bytes)).saturating_sub(bytes.len()))
    }
}

fn length(bytes: &[u8]) -> usize {
    u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize
}

/// A message of `length` bytes begins.
pub fn put_prefix(buffer: &mut impl BufMut, length: usize) {
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(length).expect("bodies are limited far below 4 GiB"));
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    async fn read(
        chunks: Vec<Vec<u8>>,
        trailers: &[(&'static str, &str)],
    ) -> Result<Vec<Bytes>, Status> {
        let mut map = HeaderMap::new();
        for (name, value) in trailers {
            map.insert(*name, value.parse().unwrap());
        }
        let data =
            stream::iter(chunks).map(|chunk| Ok::<_, Status>(Frame::data(Bytes::from(chunk))));
        let frames = data.chain(stream::iter(
            (!map.is_empty()).then(|| Ok(Frame::trailers(map))),
        ));
        let response = Response::new(Body::new(StreamBody::new(frames)));
        let (_, mut messages) = Messages::of(response, 1000)?;
        let mut all = Vec::new();
        while let Some(message) = messages.next().await? {
            all.push(message);
        }
        Ok(all)
    }

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            put_prefix(&mut bytes, message.len());
            bytes.extend_from_slice(message);
        }
        bytes
    }

    #[tokio::test]
    async fn messages_are_found_however_they_are_cut() {
        let long = vec![7; 700];
        let messages: [&[u8]; 4] = [b"one", b"", &long, b"four"];
        let bytes = framed(&messages);
        for size in 1..bytes.len() {
            let chunks = bytes.chunks(size).map(<[u8]>::to_vec).collect();
            assert_eq!(
                read(chunks, &[("grpc-status", "0")]).await.unwrap(),
                messages,
                "{size}"
            );
        }
    }

    #[tokio::test]
    async fn an_end_without_a_status_is_no_end() {
        let status = read(vec![framed(&[b"one"])], &[]).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let status = read(vec![], &[("grpc-status", "5")]).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
    }

    #[tokio::test]
    async fn what_is_too_long_or_compressed_is_not_read() {
        for bytes in [framed(&[&[0; 1001]]), vec![1, 0, 0, 0, 0]] {
            let status = read(vec![bytes], &[("grpc-status", "0")])
                .await
                .unwrap_err();
            assert_eq!(status.code(), Code::Internal);
        }
    }
}
