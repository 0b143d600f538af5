use std::sync::Arc;

use billing::providers::wechat_pay::{SignatureError, WechatPay as Client};
use chrono::Duration;
use sqlx::PgPool;
use wanwu_clock::{Clock, SharedClock, SystemEntropy};
use wanwu_proto::billing::v1::{
    ReceiveWeChatPayCallbackRequest, payment_callback_service_server::PaymentCallbackService,
};

use crate::{
    notices::{Draft, handed},
    world::{World, YUAN},
};

const NEW: &str = "3FAA11BB22CC33DD44EE55FF66AA77BB88CC99DD";
const NEXT: &str = "4FAA11BB22CC33DD44EE55FF66AA77BB88CC99DD";

async fn answered(world: &World, notice: &ReceiveWeChatPayCallbackRequest) -> i32 {
    let answer = world.api.receive_we_chat_pay_callback(handed(notice)).await;
    answer.unwrap().into_inner().http_status
}

#[sqlx::test]
async fn old_and_new_certificates_are_believed_while_both_live(pool: PgPool) {
    let world = World::new(pool).await;
    let new = world.wechat.offer_certificate(NEW);
    let wechat = Arc::clone(&world.wechat_client());
    wechat.refresh_platform().await.unwrap();
    let account = world.account();
    for serial in [NEW, crate::wechat_pay::SERIAL] {
        let (_, number) = world.order(account, 100).await;
        let mut draft = Draft::new(world.wechat.pay(&number), world.clock.now());
        draft.serial = serial;
        let key = if serial == NEW {
            &*new
        } else {
            &world.wechat.platform
        };
        assert_eq!(answered(&world, &draft.sign(key)).await, 204, "{serial}");
        // Each proves only under its own name.
        draft.serial = if serial == NEW {
            crate::wechat_pay::SERIAL
        } else {
            NEW
        };
        assert_eq!(answered(&world, &draft.sign(key)).await, 401, "{serial}");
    }
    assert_eq!(world.balance(account).await, (2 * YUAN, 0));
    // Answers under the new one are believed too, and bring the next one.
    *world.wechat.signer.lock() = Some((NEW.to_owned(), new));
    world.order(account, 100).await;
    world.wechat.offer_certificate(NEXT);
    wechat.refresh_platform().await.unwrap();
}

#[sqlx::test]
async fn a_notice_under_a_new_serial_makes_us_ask_and_no_more_than_once_a_minute(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let new = world.wechat.offer_certificate(NEW);
    let (_, number) = world.order(account, 100).await;
    let transaction = world.wechat.pay(&number);
    let mut draft = Draft::new(transaction.clone(), world.clock.now());
    draft.serial = NEW;
    assert_eq!(answered(&world, &draft.sign(&new)).await, 204);
    assert_eq!(world.balance(account).await, (YUAN, 0));
    // Offered a moment later, and somebody asks us with every serial there is.
    let next = world.wechat.offer_certificate(NEXT);
    draft.serial = NEXT;
    assert_eq!(answered(&world, &draft.sign(&next)).await, 401);
    world.clock.advance(Duration::seconds(61));
    let mut draft = Draft::new(transaction, world.clock.now());
    draft.serial = NEXT;
    assert_eq!(answered(&world, &draft.sign(&next)).await, 204);
}

#[sqlx::test]
async fn certificates_that_no_known_key_signed_for_are_not_believed(pool: PgPool) {
    let world = World::new(pool).await;
    let forged = world.wechat.offer_certificate(NEW);
    *world.wechat.signer.lock() = Some((NEW.to_owned(), Arc::clone(&forged)));
    let wechat = world.wechat_client();
    assert!(wechat.refresh_platform().await.is_err());
    let (_, number) = {
        *world.wechat.signer.lock() = None;
        world.order(world.account(), 100).await
    };
    let mut draft = Draft::new(world.wechat.pay(&number), world.clock.now());
    draft.serial = NEW;
    *world.wechat.signer.lock() = Some((NEW.to_owned(), Arc::clone(&forged)));
    assert_eq!(answered(&world, &draft.sign(&forged)).await, 401);
}

#[sqlx::test]
async fn a_certificate_that_is_over_proves_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let new = world.wechat.offer_certificate(NEW);
    let wechat = world.wechat_client();
    wechat.refresh_platform().await.unwrap();
    let (_, number) = world.order(world.account(), 100).await;
    let transaction = world.wechat.pay(&number);
    world.wechat.certificates.lock().clear();
    world.clock.advance(Duration::days(31));
    let mut draft = Draft::new(transaction, world.clock.now());
    draft.serial = NEW;
    assert_eq!(answered(&world, &draft.sign(&new)).await, 401);
}

#[sqlx::test]
async fn both_modes_are_believed_during_a_move_and_the_first_certificates_can_be_asked_for(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let client = |change: fn(&mut billing::config::WechatPayConfig)| {
        let mut config = world.wechat.config();
        change(&mut config);
        let key = config.key().unwrap();
        let clock: SharedClock = Arc::new(world.clock.clone());
        Client::new(config, key, clock, Arc::new(SystemEntropy::default()))
    };
    let notice = |serial: &'static str, key: &aws_lc_rs::rsa::KeyPair| {
        let mut draft = Draft::new(serde_json::json!({}), world.clock.now());
        draft.serial = serial;
        draft.sign(key)
    };
    let signed = |notice: &ReceiveWeChatPayCallbackRequest, client: &Client| {
        client.verify(billing::providers::wechat_pay::Signed {
            serial: &notice.serial,
            timestamp: &notice.timestamp,
            nonce: &notice.nonce,
            signature: &notice.signature,
            body: &notice.body,
        })
    };
    const KEY_ID: &str = "PUB_KEY_ID_0114232134912410000000000000";
    let both = client(|config| config.platform_public_key_id = KEY_ID.to_owned()).unwrap();
    let platform = &world.wechat.platform;
    for serial in [KEY_ID, crate::wechat_pay::SERIAL] {
        assert!(signed(&notice(serial, platform), &both).is_ok(), "{serial}");
    }
    // Nothing is configured but the APIv3 key: what it opens and signs is taken once.
    let bare = client(|config| config.platform_serial.clear()).unwrap();
    let first = world.wechat.offer_certificate(NEW);
    let unknown = signed(&notice(NEW, &first), &bare);
    assert!(matches!(unknown, Err(SignatureError::Serial)));
    *world.wechat.signer.lock() = Some((NEW.to_owned(), Arc::clone(&first)));
    bare.refresh_platform().await.unwrap();
    assert!(signed(&notice(NEW, &first), &bare).is_ok());
    let neither = client(|config| {
        config.platform_serial.clear();
        config.download_certificates = false;
    });
    assert!(neither.is_err(), "nothing could be told from anybody's");
}
