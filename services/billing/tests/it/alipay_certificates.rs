use std::sync::{Arc, atomic::Ordering};

use billing::{
    config::AlipayConfig,
    providers::alipay::{Alipay as Client, Untrustworthy},
};
use chrono::Duration;
use sqlx::PgPool;
use wanwu_clock::{Clock, SharedClock};
use wanwu_proto::billing::v1::{Order, OrderState, PaymentProvider};
use wanwu_testkit::test_clock;

use crate::{
    alipay::{ALIPAY, Alipay, Authority, Issued, Term, signed_form},
    wechat_pay::rsa,
    world::{World, YUAN},
};

async fn world(pool: PgPool) -> (World, Authority) {
    let clock = test_clock();
    let authority = Authority::new(clock.now());
    let alipay = Alipay::start_with(clock.clone(), Some(&authority)).await;
    (World::with_alipay(pool, clock, alipay).await, authority)
}

/// An order at Alipay, and its number there.
async fn order(world: &World) -> (Order, String) {
    let mut request = world.order_request(100);
    request.provider = PaymentProvider::AlipayPrecreate.into();
    let order = world.create_order(world.account(), &request).await.unwrap();
    let number = order.order_id.replace('-', "");
    (order, number)
}

/// Whether an order is offered now: Alipay's answer was believed.
async fn is_offered(world: &World) -> bool {
    let mut request = world.order_request(100);
    request.provider = PaymentProvider::AlipayPrecreate.into();
    let made = world.create_order(world.account(), &request).await;
    made.is_ok_and(|order| order.state() == OrderState::AwaitingPayment)
}

/// A certificate that signs from now on.
fn sign_with(world: &World, issued: Issued) -> Arc<Issued> {
    let issued = Arc::new(issued);
    *world.alipay.signer.lock() = Some(Arc::clone(&issued));
    issued
}

#[sqlx::test]
async fn an_order_is_offered_paid_and_found_in_certificate_mode(pool: PgPool) {
    let (world, _) = world(pool).await;
    let account = world.account();
    let mut request = world.order_request(100);
    request.provider = PaymentProvider::AlipayPrecreate.into();
    let first = world.create_order(account, &request).await.unwrap();
    let paid = world.alipay.pay(&first.order_id.replace('-', ""));
    // Notices name the certificate, or do not.
    assert_eq!(world.notify_alipay(world.alipay.notice(&paid)).await.0, 200);
    assert_eq!(world.balance(account).await, (YUAN, 0));
    let mut named = paid.clone();
    let number = world.alipay.signer.lock().as_ref().unwrap().number.clone();
    named.insert("alipay_cert_sn".to_owned(), number);
    let repeated = world.notify_alipay(world.alipay.notice(&named)).await;
    assert_eq!(repeated, (200, b"success".to_vec()));
    // A payment without a notice is found by asking.
    request.request_id = world.ids.id::<()>().to_string();
    let second = world.create_order(account, &request).await.unwrap();
    world.alipay.pay(&second.order_id.replace('-', ""));
    world.later(Duration::seconds(10)).await;
    assert_eq!(world.order_state(account, &second).await, OrderState::Paid);
    assert_eq!(world.balance(account).await, (2 * YUAN, 0));
    // Every request carried the numbers of the app's certificate and of the roots.
    assert_eq!(world.alipay.unsigned.load(Ordering::SeqCst), 0);
    assert_eq!(world.alipay.downloads.load(Ordering::SeqCst), 0);
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_notice_that_is_not_under_alipays_certificate_credits_nothing(pool: PgPool) {
    let (world, authority) = world(pool).await;
    let (_, number) = order(&world).await;
    let paid = world.alipay.pay(&number);
    let stranger = Arc::new(authority.issue(&rsa(), "Somebody", Term::Now));
    *world.alipay.offered.lock() = Some(Arc::clone(&stranger));
    let forged = signed_form(&paid, stranger.key());
    assert_eq!(world.notify_alipay(forged).await.0, 401);
    for named in [stranger.number.as_str(), "", "8eed"] {
        let mut fields = paid.clone();
        fields.insert("alipay_cert_sn".to_owned(), named.to_owned());
        let forged = signed_form(&fields, stranger.key());
        assert_eq!(world.notify_alipay(forged).await.0, 401, "{named}");
        world.clock.advance(Duration::seconds(61));
    }
    assert_eq!(world.alipay.downloads.load(Ordering::SeqCst), 1);
}

#[sqlx::test]
async fn a_new_certificate_of_alipay_is_asked_for_and_believed_under_the_root(pool: PgPool) {
    let (world, authority) = world(pool).await;
    let old = Arc::clone(world.alipay.signer.lock().as_ref().unwrap());
    sign_with(&world, authority.issue(&rsa(), ALIPAY, Term::Now));
    assert!(is_offered(&world).await);
    assert!(is_offered(&world).await);
    assert_eq!(world.alipay.downloads.load(Ordering::SeqCst), 1);
    // The old one proves what it signs until it ends; another new one waits for its minute.
    *world.alipay.signer.lock() = Some(old);
    assert!(is_offered(&world).await);
    sign_with(&world, authority.issue(&rsa(), ALIPAY, Term::Now));
    assert!(!is_offered(&world).await);
    world.clock.advance(Duration::seconds(61));
    assert!(is_offered(&world).await);
}

#[sqlx::test]
async fn an_answer_under_an_unknown_certificate_is_refused(pool: PgPool) {
    let (world, authority) = world(pool).await;
    let another = Authority::new(world.clock.now());
    let cases = [
        (
            "under another root",
            another.issue(&rsa(), ALIPAY, Term::Now),
        ),
        ("over", authority.issue(&rsa(), ALIPAY, Term::Over)),
        ("an app's", authority.issue(&rsa(), "万物", Term::Now)),
    ];
    for (asked, (what, issued)) in cases.into_iter().enumerate() {
        sign_with(&world, issued);
        assert!(!is_offered(&world).await, "{what}");
        assert_eq!(world.alipay.downloads.load(Ordering::SeqCst), asked + 1);
        world.clock.advance(Duration::seconds(61));
    }
    // Offered under a number that is not its own.
    sign_with(&world, another.issue(&rsa(), ALIPAY, Term::Now));
    let other = Arc::new(authority.issue(&rsa(), ALIPAY, Term::Now));
    *world.alipay.offered.lock() = Some(other);
    assert!(!is_offered(&world).await);
}

#[sqlx::test]
async fn a_certificate_that_is_over_proves_nothing_until_the_next_is_there(pool: PgPool) {
    let (world, authority) = world(pool).await;
    sign_with(&world, authority.issue(&rsa(), ALIPAY, Term::Short));
    assert!(is_offered(&world).await);
    let (_, number) = order(&world).await;
    let paid = world.alipay.pay(&number);
    let mut named = paid.clone();
    let short = Arc::clone(world.alipay.signer.lock().as_ref().unwrap());
    named.insert("alipay_cert_sn".to_owned(), short.number.clone());
    let notice = signed_form(&named, short.key());
    world.clock.advance(Duration::days(11));
    assert_eq!(world.notify_alipay(notice.clone()).await.0, 401);
    assert!(!is_offered(&world).await);
    sign_with(&world, authority.issue(&rsa(), ALIPAY, Term::Now));
    assert!(is_offered(&world).await);
    assert_eq!(world.notify_alipay(notice).await.0, 401);
}

#[tokio::test]
async fn without_what_proves_alipay_nothing_starts() {
    // The client is built for HTTPS too.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clock = test_clock();
    let authority = Authority::new(clock.now());
    let alipay = Alipay::start_with(clock.clone(), Some(&authority)).await;
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let refused = |change: &dyn Fn(&mut AlipayConfig)| {
        let mut config = alipay.config();
        change(&mut config);
        let clock: SharedClock = Arc::new(clock.clone());
        let error = Client::new(config, clock).err()?;
        let source = std::error::Error::source(&error)?;
        source.downcast_ref::<Untrustworthy>().copied()
    };
    assert_eq!(refused(&|_| {}), None);
    let another = Authority::new(clock.now());
    let stranger = another.issue(&rsa(), ALIPAY, Term::Now).pem;
    let other_app = authority.issue(&rsa(), "万物", Term::Now).pem;
    let absent = files.path().join("absent");
    let is = |error: Option<Untrustworthy>, expected: &str| {
        assert_eq!(error.unwrap().to_string(), expected);
    };
    is(
        refused(&|config| config.alipay_root_file.clone_from(&absent)),
        "Alipay's root certificates cannot be used",
    );
    is(
        refused(&|config| config.app_certificate_file.clone_from(&absent)),
        "the app's certificate cannot be used",
    );
    is(
        refused(&|config| config.alipay_certificate_file.clone_from(&absent)),
        "Alipay's certificate cannot be used",
    );
    is(
        refused(&|config| config.app_certificate_file = file("app.crt", &other_app)),
        "the app's certificate is not of the app's key",
    );
    is(
        refused(&|config| config.alipay_certificate_file = file("alipay.crt", &stranger)),
        "Alipay's certificate does not chain to a configured root",
    );
    is(
        refused(&|config| config.alipay_root_file = file("root.crt", &another.roots)),
        "Alipay's certificate does not chain to a configured root",
    );
}
