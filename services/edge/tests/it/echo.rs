//! A service that says what it hears, and its contract.

use std::{convert::Infallible, path::Path, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{StreamExt, stream};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use parking_lot::Mutex;
use prost::Message;
use tonic::{Code, Status, body::Body, service::Routes};
use tonic_types::{ErrorDetails, StatusExt};
use wanwu_proto::billing::v1::{
    ReceiveAlipayCallbackRequest, ReceiveAlipayCallbackResponse, ReceiveWeChatPayCallbackRequest,
    ReceiveWeChatPayCallbackResponse,
    payment_callback_service_server::{PaymentCallbackService, PaymentCallbackServiceServer},
};

/// `SayRequest` of `echo.proto`.
#[derive(Clone, PartialEq, Message)]
pub struct Say {
    #[prost(string, tag = "1")]
    pub text: String,
    #[prost(int64, tag = "2")]
    pub number: i64,
}

/// What the service heard.
#[derive(Clone, Default)]
pub struct Heard {
    pub calls: Arc<Mutex<Vec<(String, HeaderMap)>>>,
    pub callbacks: Arc<Mutex<Vec<ReceiveWeChatPayCallbackRequest>>>,
    /// Streams whose client went away.
    pub dropped: Arc<Mutex<u32>>,
}

/// The contracts with `echo.proto` among them.
pub fn descriptors() -> Vec<u8> {
    let mut bytes = wanwu_proto::DESCRIPTORS.to_vec();
    bytes.extend(compiled("echo.proto", include_str!("echo.proto")));
    bytes
}

/// One more file of contracts, without what it imports: sets of descriptors are joined by
/// putting one after the other.
pub fn compiled(name: &str, text: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), text).unwrap();
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let mut compiler =
        protox::Compiler::new([folder.path(), &protos, &protos.join("third_party")]).unwrap();
    compiler.include_imports(false).open_file(name).unwrap();
    compiler.encode_file_descriptor_set()
}

impl Heard {
    /// The headers of the last call.
    pub fn last(&self) -> HeaderMap {
        self.calls
            .lock()
            .last()
            .expect("a call came through")
            .1
            .clone()
    }

    pub fn count(&self) -> usize {
        self.calls.lock().len()
    }

    /// The service itself: `billing` with an echo.
    pub fn routes(&self) -> Routes {
        let mut routes = Routes::new(PaymentCallbackServiceServer::new(Callbacks(self.clone())));
        let heard = self.clone();
        let router = std::mem::take(routes.axum_router_mut());
        *routes.axum_router_mut() = router.fallback_service(tower::service_fn(
            move |request: Request<axum::body::Body>| {
                let heard = heard.clone();
                async move { Ok::<_, Infallible>(heard.answer(request).await) }
            },
        ));
        routes
    }

    async fn answer(self, request: Request<axum::body::Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let method = parts
            .uri
            .path()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        self.calls.lock().push((method.clone(), parts.headers));
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return Status::cancelled("").into_http(),
        };
        let mut said = messages(&body);
        let first = said.first().cloned().unwrap_or_default();
        match (method.as_str(), first.text.as_str()) {
            (_, "fail") => failure().into_http(),
            (_, "sleep") => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Status::internal("it was waited for").into_http()
            }
            ("Count", _) => reply(counted(first, Dropped(self))),
            ("Collect", _) => {
                let text = said.iter().map(|one| one.text.as_str()).collect();
                let number = said.iter().map(|one| one.number).sum();
                reply(stream::iter([Say { text, number }]))
            }
            _ => {
                said.truncate(1);
                reply(stream::iter(said))
            }
        }
    }
}

fn failure() -> Status {
    let metadata = [("limit".to_owned(), "3".to_owned())];
    let mut details = ErrorDetails::with_error_info(
        "TOO_MANY",
        "billing.wanwu",
        metadata
            .into_iter()
            .collect::<std::collections::HashMap<_, _>>(),
    );
    details.add_bad_request_violation("text", "must be kinder");
    Status::with_error_details(Code::FailedPrecondition, "there are too many", details)
}

/// Counts, as a stream; the number says how many milliseconds apart.
fn counted(first: Say, dropped: Dropped) -> impl futures::Stream<Item = Say> + Send {
    async_stream::stream! {
        let mut dropped = dropped;
        for number in 1..=3 {
            yield Say { text: first.text.clone(), number };
            tokio::time::sleep(Duration::from_millis(first.number.unsigned_abs())).await;
        }
        dropped.0.dropped = Arc::default();
    }
}

struct Dropped(Heard);

impl Drop for Dropped {
    fn drop(&mut self) {
        *self.0.dropped.lock() += 1;
    }
}

fn messages(mut body: &[u8]) -> Vec<Say> {
    let mut all = Vec::new();
    while body.len() >= 5 {
        let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
        all.push(Say::decode(&body[5..5 + length]).unwrap());
        body = &body[5 + length..];
    }
    all
}

fn reply(says: impl futures::Stream<Item = Say> + Send + 'static) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("x-trailer", "kept".parse().unwrap());
    let data = says.map(|say| {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(say.encoded_len()).unwrap());
        say.encode(&mut frame).unwrap();
        Ok::<Frame<Bytes>, Status>(Frame::data(frame.freeze()))
    });
    let frames = data.chain(stream::iter([Ok(Frame::trailers(trailers))]));
    Response::builder()
        .header("content-type", "application/grpc")
        .header("x-header", "kept")
        .body(Body::new(StreamBody::new(frames)))
        .unwrap()
}

struct Callbacks(Heard);

#[tonic::async_trait]
impl PaymentCallbackService for Callbacks {
    async fn receive_we_chat_pay_callback(
        &self,
        request: tonic::Request<ReceiveWeChatPayCallbackRequest>,
    ) -> Result<tonic::Response<ReceiveWeChatPayCallbackResponse>, Status> {
        assert!(!request.metadata().contains_key("wanwu-principal-bin"));
        let request = request.into_inner();
        let answer = if request.signature == "good" {
            ReceiveWeChatPayCallbackResponse {
                http_status: 204,
                body: Vec::new(),
            }
        } else {
            let body = br#"{"code":"FAIL","message":"signature"}"#.to_vec();
            ReceiveWeChatPayCallbackResponse {
                http_status: 401,
                body,
            }
        };
        self.0.callbacks.lock().push(request);
        Ok(tonic::Response::new(answer))
    }

    async fn receive_alipay_callback(
        &self,
        request: tonic::Request<ReceiveAlipayCallbackRequest>,
    ) -> Result<tonic::Response<ReceiveAlipayCallbackResponse>, Status> {
        assert!(!request.metadata().contains_key("wanwu-principal-bin"));
        let good = request.get_ref().body == b"sign=%2B+good";
        let (http_status, body) = if good {
            (200, &b"success"[..])
        } else {
            (401, &b"failure"[..])
        };
        Ok(tonic::Response::new(ReceiveAlipayCallbackResponse {
            http_status,
            body: body.to_vec(),
        }))
    }
}
