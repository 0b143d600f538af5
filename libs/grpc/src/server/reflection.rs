use std::{
    convert::Infallible,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use tonic::{body::Body, server::NamedService, service::Routes};
use tonic_reflection::server::{Builder, Error};
use tower::Service;

type Making = Box<dyn FnOnce() -> Routes + Send>;

/// Answers reflection, v1 and v1alpha. Its tables have an entry for every name of the contracts,
/// some MiB that most replicas never need: the first who asks waits some milliseconds for them.
#[derive(Clone)]
pub struct Reflection(Arc<LazyLock<Routes, Making>>);

impl Reflection {
    /// Shows encoded `FileDescriptorSet`s, and lists these services or, without a list, all.
    /// Sets that cannot be read are logged when somebody asks, and nothing is shown.
    #[must_use]
    pub fn new(descriptors: Vec<Bytes>, services: Option<Vec<String>>) -> Self {
        let making = move || {
            made(&descriptors, services.as_deref()).unwrap_or_else(|error| {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "reflection cannot show the descriptors"
                );
                Routes::default()
            })
        };
        Self(Arc::new(LazyLock::new(Box::new(making))))
    }

    /// What answers.
    #[must_use]
    pub fn routes(&self) -> Routes {
        Routes::clone(&self.0)
    }

    /// Adds both versions to the routes of a server.
    pub(super) fn serve(self, routes: Routes) -> Routes {
        routes
            .add_service(Version::<1>(self.clone()))
            .add_service(Version::<0>(self))
    }
}

fn made(descriptors: &[Bytes], services: Option<&[String]>) -> Result<Routes, Error> {
    let builder = || {
        let builder = descriptors.iter().fold(Builder::configure(), |all, set| {
            all.register_encoded_file_descriptor_set(set)
        });
        let names = services.into_iter().flatten();
        names.fold(builder, |builder, name| builder.with_service_name(name))
    };
    Ok(Routes::new(builder().build_v1()?)
        .add_service(builder().build_v1alpha()?)
        .prepare())
}

/// A version of the protocol: 1, or the one before it.
#[derive(Clone)]
struct Version<const NUMBER: u8>(Reflection);

impl NamedService for Version<1> {
    const NAME: &'static str = "grpc.reflection.v1.ServerReflection";
}

impl NamedService for Version<0> {
    const NAME: &'static str = "grpc.reflection.v1alpha.ServerReflection";
}

impl<const NUMBER: u8> Service<Request<Body>> for Version<NUMBER> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Routes as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.routes().call(request)
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    use wanwu_proto::DESCRIPTORS;

    use super::*;

    async fn listed(reflection: &Reflection) -> Result<Vec<String>, tonic::Status> {
        let asked = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(Version::<1>(reflection.clone()));
        let answers = client.server_reflection_info(tokio_stream::iter([asked]));
        let answer = answers.await?.into_inner().message().await?.unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
            panic!("it is a list");
        };
        Ok(list.service.into_iter().map(|one| one.name).collect())
    }

    #[tokio::test]
    async fn every_service_is_listed_or_those_that_are_named() {
        let ours = || vec![Bytes::from_static(DESCRIPTORS)];
        let all = listed(&Reflection::new(ours(), None)).await.unwrap();
        let session = "wanwu.identity.v1.SessionService".to_owned();
        assert!(all.contains(&session), "{all:?}");
        let some = Reflection::new(ours(), Some(vec![session.clone()]));
        assert_eq!(listed(&some).await.unwrap(), [session]);
    }

    #[tokio::test]
    async fn descriptors_that_cannot_be_read_show_nothing() {
        let reflection = Reflection::new(vec![Bytes::from_static(b"nonsense")], None);
        let status = listed(&reflection).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
    }
}
