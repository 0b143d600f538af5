use std::{net::SocketAddr, path::Path, sync::Arc};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::ResourceSpans,
};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

use super::{Span, query, span::attributes, store::Store};

/// A batch of spans is not larger.
const MAX_MESSAGE: usize = 32 * 1024 * 1024;

/// The receiver: two ports and a folder.
#[derive(Debug)]
pub struct Receiver {
    otlp: TcpListener,
    query: TcpListener,
    store: Arc<Store>,
}

/// The receiver cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// An address or the folder cannot be used.
    #[error("cannot listen or write")]
    Io(#[from] std::io::Error),
    /// The gRPC server failed.
    #[error("cannot serve OTLP")]
    Serve(#[from] tonic::transport::Error),
}

impl Receiver {
    /// Takes the ports and opens the folder.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn bind(
        otlp: SocketAddr,
        query: SocketAddr,
        folder: &Path,
    ) -> Result<Self, ReceiverError> {
        Ok(Self {
            otlp: TcpListener::bind(otlp).await?,
            query: TcpListener::bind(query).await?,
            store: Arc::new(Store::open(folder)?),
        })
    }

    /// Serves until the process is ended.
    ///
    /// # Errors
    /// When one of the servers fails.
    pub async fn serve(self) -> Result<(), ReceiverError> {
        let service = TraceServiceServer::new(Collector {
            store: Arc::clone(&self.store),
        })
        .max_decoding_message_size(MAX_MESSAGE);
        let otlp = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(self.otlp));
        let query = axum::serve(self.query, query::router(self.store));
        tokio::select! {
            done = otlp => done.map_err(Into::into),
            done = query => done.map_err(Into::into),
        }
    }
}

struct Collector {
    store: Arc<Store>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request
            .into_inner()
            .resource_spans
            .into_iter()
            .flat_map(spans)
            .collect();
        self.store
            .add(spans)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn spans(group: ResourceSpans) -> Vec<Span> {
    let resource = group
        .resource
        .map(|r| attributes(&r.attributes))
        .unwrap_or_default();
    let service = resource.get("service.name").cloned().unwrap_or_default();
    let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans.map(|span| Span::from_otlp(&service, span)).collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        collector::trace::v1::trace_service_client::TraceServiceClient,
        common::v1::{AnyValue, KeyValue, any_value::Value},
        resource::v1::Resource,
        trace::v1::{ScopeSpans, Span as OtlpSpan},
    };

    use super::*;

    #[tokio::test]
    async fn a_sent_span_is_found_by_its_trace() {
        let folder = tempfile::tempdir().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let receiver = Receiver::bind(any, any, folder.path()).await.unwrap();
        let otlp = receiver.otlp.local_addr().unwrap();
        let store = Arc::clone(&receiver.store);
        tokio::spawn(receiver.serve());
        let mut client = TraceServiceClient::connect(format!("http://{otlp}"))
            .await
            .unwrap();
        let name = AnyValue {
            value: Some(Value::StringValue("billing".to_owned())),
        };
        let name = KeyValue {
            key: "service.name".to_owned(),
            value: Some(name),
            ..KeyValue::default()
        };
        let resource = Resource {
            attributes: vec![name],
            ..Resource::default()
        };
        let span = OtlpSpan {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name: "settle".to_owned(),
            kind: 5,
            ..OtlpSpan::default()
        };
        let scope = ScopeSpans {
            spans: vec![span],
            ..ScopeSpans::default()
        };
        let group = ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        };
        client
            .export(ExportTraceServiceRequest {
                resource_spans: vec![group],
            })
            .await
            .unwrap();
        let trace = store.trace(&"01".repeat(16)).unwrap();
        assert_eq!(
            (trace[0].service.as_str(), trace[0].kind.as_str()),
            ("billing", "consumer")
        );
        let line = std::fs::read_to_string(folder.path().join("spans.ndjson")).unwrap();
        assert_eq!(serde_json::from_str::<Span>(line.trim()).unwrap(), trace[0]);
    }
}
