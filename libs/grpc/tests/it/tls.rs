use std::{sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_rustls::TlsConnector;
use tonic::Code;
use wanwu_grpc::{Channel, Tls, testing::TestAuthority};
use wanwu_proto::identity::v1::standing_service_client::StandingServiceClient;

use crate::stand::{Handler, Stand, ask, at};

#[tokio::test]
async fn a_peer_is_known_by_its_certificate() {
    let stand = Stand::start().await;
    let answer = stand
        .client("billing")
        .get_standing(ask("peer"))
        .await
        .unwrap();
    assert_eq!(answer.into_inner().standing.unwrap().account_id, "billing");
}

#[tokio::test]
async fn a_peer_without_a_certificate_is_refused() {
    let stand = Stand::start().await;
    let files = stand.authority.issue("billing").unwrap();
    let mut authorities = RootCertStore::empty();
    authorities
        .add(CertificateDer::from_pem_file(&files.ca_file).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authorities)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(stand.address).await.unwrap();
    let name = ServerName::try_from("identity").unwrap();
    // In TLS 1.3 the client is done first: the refusal comes with the first read.
    let read = async {
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await?;
        stream.read_u8().await
    };
    let error = tokio::time::timeout(Duration::from_secs(5), read)
        .await
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
}

#[tokio::test]
async fn a_peer_of_another_authority_is_refused() {
    let stand = Stand::start().await;
    let others = TestAuthority::start().unwrap();
    let channel = Channel::new(
        "identity",
        at(&[stand.address]),
        &others.tls("edge").unwrap(),
    );
    let error = StandingServiceClient::new(channel)
        .get_standing(ask("peer"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(
        stand
            .handler
            .calls
            .load(std::sync::atomic::Ordering::SeqCst),
        0
    );
}

#[tokio::test]
async fn a_server_of_another_name_is_refused() {
    let stand = Stand::start().await;
    let tls = stand.authority.tls("edge").unwrap();
    let channel = Channel::new("billing", at(&[stand.address]), &tls);
    let error = StandingServiceClient::new(channel)
        .get_standing(ask("peer"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_certificate_that_names_no_service_of_ours_is_refused() {
    let stand = Stand::start().await;
    let tls = stand.authority.tls("Not A Service");
    let refused = match tls {
        // The name is no DNS name already.
        Err(_) => true,
        Ok(tls) => {
            let channel = Channel::new("identity", at(&[stand.address]), &tls);
            StandingServiceClient::new(channel)
                .get_standing(ask("peer"))
                .await
                .is_err()
        }
    };
    assert!(refused);
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_a_restart() {
    let authority = TestAuthority::start().unwrap();
    let files = authority.issue("identity").unwrap();
    let tls = Tls::load(&files).unwrap();
    let stand = Stand::start_as(authority, &tls, Handler::default(), |_| {}).await;
    let reload = tokio::spawn(tls.reload(stand.stop.clone()));
    let before = certificate(&stand).await;
    // The time of a file is told in ticks of the kernel's clock.
    tokio::time::sleep(Duration::from_millis(20)).await;
    stand.authority.issue("identity").unwrap();
    let changed = async {
        while certificate(&stand).await == before {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), changed)
        .await
        .expect("the certificate is new");
    stand
        .client("edge")
        .get_standing(ask("peer"))
        .await
        .unwrap();
    stand.stop.cancel();
    reload.await.unwrap();
}

#[tokio::test]
async fn half_of_a_rotation_leaves_the_old_certificate() {
    let authority = TestAuthority::start().unwrap();
    let files = authority.issue("identity").unwrap();
    let tls = Tls::load(&files).unwrap();
    let stand = Stand::start_as(authority, &tls, Handler::default(), |_| {}).await;
    let reload = tokio::spawn(tls.reload(stand.stop.clone()));
    let before = certificate(&stand).await;
    std::fs::write(&files.key_file, "not a key").unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(certificate(&stand).await, before);
    stand.stop.cancel();
    reload.await.unwrap();
}

/// The certificate that the server shows now.
async fn certificate(stand: &Stand) -> Vec<u8> {
    let files = stand.authority.issue("probe").unwrap();
    let mut authorities = RootCertStore::empty();
    authorities
        .add(CertificateDer::from_pem_file(&files.ca_file).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authorities)
        .with_no_client_auth();
    let tcp = TcpStream::connect(stand.address).await.unwrap();
    let name = ServerName::try_from("identity").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}
