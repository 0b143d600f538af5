//! Services among themselves.

use integration_tests::stack::Stack;
use prost::Message;
use tonic::metadata::MetadataValue;
use wanwu_grpc::{Channel, PeerAddress, Tls, TlsConfig};
use wanwu_proto::{
    access::v1::{AccountSubject, Principal, principal::Subject},
    billing::v1::{GetBalanceRequest, balance_service_client::BalanceServiceClient},
    identity::v1::{ListAppsRequest, app_service_client::AppServiceClient},
};

use crate::world::{customer, stack};

const SERVICES: [&str; 6] = [
    "identity",
    "verification",
    "billing",
    "inference-routing",
    "device-registry",
    "privacy",
];

/// A channel to a service, with another service's certificate.
fn channel(stack: &Stack, from: &str, to: &str) -> Channel {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    let own = stack.service(from);
    let tls = Tls::load(&TlsConfig {
        ca_file: stack.description().ca_file.clone(),
        cert_file: own.certificate.clone(),
        key_file: own.key.clone(),
    })
    .unwrap();
    let address = stack
        .service(to)
        .grpc
        .trim_start_matches("https://")
        .to_owned();
    Channel::new(to, PeerAddress::List(vec![address]), &tls)
}

fn principal(account_id: &str) -> MetadataValue<tonic::metadata::Binary> {
    let subject = AccountSubject {
        account_id: account_id.to_owned(),
        session_id: uuid::Uuid::new_v4().to_string(),
    };
    let principal = Principal {
        subject: Some(Subject::Account(subject)),
        mainland: true,
        ..Principal::default()
    };
    MetadataValue::from_bytes(&principal.encode_to_vec())
}

#[tokio::test]
async fn a_service_that_forges_a_principal_is_refused_whichever_it_is() {
    let stack = stack();
    let journey = customer().await;
    let account = &journey.session.as_ref().unwrap().account_id;
    for service in SERVICES {
        let mut request = tonic::Request::new(GetBalanceRequest {});
        request
            .metadata_mut()
            .insert_bin("wanwu-principal-bin", principal(account));
        let mut client = BalanceServiceClient::new(channel(&stack, service, "billing"));
        let status = client.get_balance(request).await.unwrap_err();
        assert_eq!(
            status.code(),
            tonic::Code::PermissionDenied,
            "{service}: {status}"
        );

        let mut request = tonic::Request::new(ListAppsRequest::default());
        request
            .metadata_mut()
            .insert_bin("wanwu-principal-bin", principal(account));
        let mut client = AppServiceClient::new(channel(&stack, service, "identity"));
        let status = client.list_apps(request).await.unwrap_err();
        assert_eq!(
            status.code(),
            tonic::Code::PermissionDenied,
            "{service}: {status}"
        );
    }
    // The edge's certificate is the one that is believed: what was refused was the forging.
    let mut request = tonic::Request::new(GetBalanceRequest {});
    request
        .metadata_mut()
        .insert_bin("wanwu-principal-bin", principal(account));
    let mut client = BalanceServiceClient::new(channel(&stack, "edge", "billing"));
    client.get_balance(request).await.unwrap();
}
