//! Payments between billing's client and the simulator, in both modes.

use std::{path::Path, sync::Arc};

use axum::{Router, body::Bytes, extract::State, routing::post};
use billing::{
    config::{AlipayConfig, AlipayMode},
    domain::{payment::Provider, payment_channel::Method},
    providers::{
        Offer, Payer, PaymentProvider, ProviderError, Trade, alipay::Alipay, out_trade_no,
    },
};
use chrono::{TimeDelta, Utc};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use tokio::{net::TcpListener, sync::mpsc};
use wanwu_clock::{Clock, SystemClock};
use wanwu_ids::Ids;

use super::{Config, Mode, routes};
use crate::stack::alipay_authority;

/// The address of what answers with these routes.
async fn answering(routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// A merchant that hands notices on.
async fn merchant() -> (String, mpsc::UnboundedReceiver<Bytes>) {
    let (sender, notices) = mpsc::unbounded_channel();
    let take = |State(sender): State<mpsc::UnboundedSender<Bytes>>, body: Bytes| async move {
        sender.send(body).expect("the test listens");
        "success"
    };
    let routes = Router::new().route("/", post(take)).with_state(sender);
    (answering(routes).await, notices)
}

/// A simulator in this mode, and how an app reaches it.
async fn simulator(folder: &Path, mode: Mode, notify_url: String) -> AlipayConfig {
    let file = |name: &str| folder.join(name);
    for name in ["app", "alipay"] {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        std::fs::write(file(&format!("{name}-key.pem")), key.serialize_pem()).unwrap();
        std::fs::write(file(&format!("{name}-public.pem")), key.public_key_pem()).unwrap();
    }
    let (app_key, alipay_key) = (file("app-key.pem"), file("alipay-key.pem"));
    let issued = alipay_authority::ensure(folder, &app_key, &alipay_key).unwrap();
    let config = Config {
        app_id: "2021000000000109".to_owned(),
        seller_id: "2088000000000109".to_owned(),
        app_certificate_file: issued.app.clone(),
        alipay_key_file: alipay_key,
        mode,
        alipay_certificate_file: issued.alipay.clone(),
        alipay_root_file: issued.roots.clone(),
    };
    let (app_id, seller_id) = (config.app_id.clone(), config.seller_id.clone());
    let address = answering(routes(config).unwrap()).await;
    AlipayConfig {
        gateway_url: format!("{address}/gateway.do").parse().unwrap(),
        app_id,
        seller_id,
        mode: match mode {
            Mode::PublicKey => AlipayMode::PublicKey,
            Mode::Certificate => AlipayMode::Certificate,
        },
        app_key_file: app_key,
        alipay_public_key_file: file("alipay-public.pem"),
        app_certificate_file: issued.app,
        alipay_certificate_file: issued.alipay,
        alipay_root_file: issued.roots,
        notify_url,
        legal_urls: Vec::new(),
    }
}

async fn pays(mode: Mode) {
    // Clients are built for HTTPS too.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let (notify_url, mut notices) = merchant().await;
    let config = simulator(folder.path(), mode, notify_url).await;
    let clock = Arc::new(SystemClock);
    let alipay = Alipay::new(config.clone(), Arc::clone(&clock) as _).unwrap();

    let id = Ids::system().id();
    let offer = Offer {
        number: out_trade_no(id),
        description: "万物账户充值".to_owned(),
        amount_fen: 1234,
        expires_at: clock.now() + TimeDelta::minutes(30),
    };
    let nobody = Payer::default();
    let offered = alipay.offer(&offer, Method::AlipayPrecreate, &nobody);
    assert!(offered.await.unwrap().ends_with(&offer.number));
    let address = config.gateway_url.join("/_pay/").unwrap();
    let payer = reqwest::Client::new().post(address.join(&offer.number).unwrap());
    assert!(payer.send().await.unwrap().status().is_success());
    let body = notices.recv().await.unwrap();
    let notice = alipay.verify_notice(&body).await.unwrap();
    let proved = notice.prove(&alipay).unwrap().unwrap();
    assert_eq!(
        (proved.provider, proved.amount_fen),
        (Provider::Alipay, 1234)
    );
    let Trade::Paid(found) = alipay.query(id).await.unwrap() else {
        panic!("it was paid");
    };
    assert_eq!(found.transaction_id, proved.transaction_id);
    assert!(alipay.bill(Utc::now().date_naive()).await.is_ok());

    // A client of the other mode is none of this app's.
    let other = AlipayConfig {
        mode: match mode {
            Mode::PublicKey => AlipayMode::Certificate,
            Mode::Certificate => AlipayMode::PublicKey,
        },
        ..config
    };
    let other = Alipay::new(other, clock as _).unwrap();
    let refused = other.query(id).await.unwrap_err();
    assert!(
        matches!(refused, ProviderError::Refused { .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_payment_is_proved_by_certificates() {
    pays(Mode::Certificate).await;
}

#[tokio::test]
async fn a_payment_is_proved_by_a_public_key() {
    pays(Mode::PublicKey).await;
}
