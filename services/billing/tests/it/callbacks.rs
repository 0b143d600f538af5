use chrono::Duration;
use serde_json::{Value, json};
use sqlx::PgPool;
use wanwu_clock::Clock;
use wanwu_proto::billing::v1::{
    OrderState, ReceiveWeChatPayCallbackRequest,
    payment_callback_service_server::PaymentCallbackService,
};

use crate::{
    notices::{Draft, handed},
    wechat_pay::{rsa, sign},
    world::{World, YUAN},
};

/// The status and the body that a notice is answered with.
async fn answer(world: &World, notice: &ReceiveWeChatPayCallbackRequest) -> (i32, Vec<u8>) {
    let answer = world.api.receive_we_chat_pay_callback(handed(notice)).await;
    let answer = answer.unwrap().into_inner();
    (answer.http_status, answer.body)
}

#[sqlx::test]
async fn a_payment_that_is_told_fifteen_times_eight_at_once_is_credited_once(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = world.order(account, 1000).await;
    let paid = world.wechat.pay(&number);
    let notice = Draft::new(paid, world.clock.now()).sign(&world.wechat.platform);
    for at_once in [8, 7] {
        let all = (0..at_once).map(|_| answer(&world, &notice));
        for answer in futures::future::join_all(all).await {
            assert_eq!(answer, (204, Vec::new()));
        }
    }
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
    assert_eq!(world.order_state(account, &order).await, OrderState::Paid);
    world.assert_sound().await;
    let told: Vec<(String,)> = sqlx::query_as(
        "select type from outbox where type not like '%PriceListPublished' order by type",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let told: Vec<_> = told.iter().map(|(name,)| name.as_str()).collect();
    assert_eq!(
        told,
        [
            "wanwu.billing.v1.OrderPaid",
            "wanwu.identity.v1.NotificationRequested"
        ]
    );
}

#[sqlx::test]
async fn what_is_forged_credits_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = world.order(account, 1000).await;
    let paid = world.wechat.pay(&number);
    let now = world.clock.now();
    let platform = &world.wechat.platform;
    let stranger = aws_lc_rs::rsa::KeyPair::from_pkcs8(rsa().serialized_der()).unwrap();
    let draft = || Draft::new(paid.clone(), now);
    let signed = || draft().sign(platform);
    let changed = |change: fn(&mut ReceiveWeChatPayCallbackRequest)| {
        let mut notice = signed();
        change(&mut notice);
        notice
    };
    let with = |pointer, value: Value| draft().with(pointer, value).sign(platform);
    let cases = [
        ("another's signature", 401, draft().sign(&stranger)),
        ("no signature", 401, changed(|n| n.signature.clear())),
        (
            "a probe",
            401,
            changed(|n| n.signature.insert_str(0, "WECHATPAY/SIGNTEST/")),
        ),
        ("no timestamp", 401, changed(|n| n.timestamp.clear())),
        ("timestamp 0", 401, changed(|n| n.timestamp = "0".into())),
        ("no nonce", 401, changed(|n| n.nonce.clear())),
        ("another nonce", 401, changed(|n| n.nonce.push('x'))),
        ("another body", 401, changed(|n| n.body.push(b' '))),
        ("another serial", 401, {
            let mut draft = draft();
            draft.serial = "5157F09EFDC096DE15EBE81A47057A7232F1B8E2";
            draft.sign(platform)
        }),
        ("no serial", 401, changed(|n| n.serial.clear())),
        (
            "five minutes old",
            401,
            draft().later(-Duration::seconds(300)).sign(platform),
        ),
        (
            "five minutes early",
            401,
            draft().later(Duration::seconds(300)).sign(platform),
        ),
        ("another key", 400, {
            let mut draft = draft();
            draft.api_v3_key = "fedcba9876543210fedcba9876543210";
            draft.sign(platform)
        }),
        ("a refund", 400, {
            let mut draft = draft();
            draft.event_type = "REFUND.SUCCESS";
            draft.sign(platform)
        }),
        ("less", 400, with("/amount/total", json!(1))),
        ("more", 400, with("/amount/total", json!(100_000))),
        ("dollars", 400, with("/amount/currency", json!("USD"))),
        ("no amount", 400, with("/amount", Value::Null)),
        ("another merchant", 400, with("/mchid", json!("1900000002"))),
        ("another app", 400, with("/appid", json!("wx9"))),
        ("not paid", 400, with("/trade_state", json!("NOTPAY"))),
        (
            "no order",
            400,
            with("/out_trade_no", json!("7".repeat(32))),
        ),
        (
            "another spelling",
            400,
            with("/out_trade_no", json!(order.order_id)),
        ),
        ("no transaction", 400, with("/transaction_id", json!(""))),
    ];
    for (what, status, notice) in cases {
        let (found, body) = answer(&world, &notice).await;
        assert_eq!(found, status, "{what}");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "FAIL", "{what}");
        assert!(body["message"].is_string(), "{what}");
        assert_eq!(world.balance(account).await, (0, 0), "{what}");
    }
    // The true one still counts.
    assert_eq!(answer(&world, &signed()).await, (204, Vec::new()));
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
}

#[sqlx::test]
async fn one_payment_pays_one_order(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (_, first) = world.order(account, 1000).await;
    let (second, number) = world.order(account, 1000).await;
    let paid = world.wechat.pay(&first);
    assert_eq!(world.notify(paid.clone()).await, 204);

    let mut other = paid.clone();
    other["out_trade_no"] = json!(number);
    assert_eq!(world.notify(other).await, 400, "another order");
    let mut again = paid;
    again["transaction_id"] = json!("4200000000000000000000000000");
    for _ in 0..3 {
        assert_eq!(world.notify(again.clone()).await, 204);
    }
    assert_eq!(world.refund_due(account).await, 10 * YUAN, "it goes back");
    world.later(Duration::seconds(1)).await;
    assert_eq!(world.refund_due(account).await, 0);
    let refunds = world.wechat.refunds.lock().clone();
    let refunds: Vec<_> = refunds.into_values().collect();
    let expected = ("4200000000000000000000000000".to_owned(), 1000, "SUCCESS");
    assert_eq!(refunds, [expected]);

    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
    let state = world.order_state(account, &second).await;
    assert_eq!(state, OrderState::AwaitingPayment);
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_payment_that_comes_after_the_order_was_given_up_is_still_money(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = world.order(account, 1000).await;
    world.clock.advance(Duration::minutes(31));
    world.app().query_unpaid_orders().await.unwrap();
    assert_eq!(
        world.order_state(account, &order).await,
        OrderState::Expired
    );
    assert_eq!(world.notify(world.wechat.pay(&number)).await, 204);
    assert_eq!(world.order_state(account, &order).await, OrderState::Paid);
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
    world.assert_sound().await;
}

#[sqlx::test]
async fn both_keys_of_a_merchant_that_moves_to_public_key_mode_are_believed(pool: PgPool) {
    const ID: &str = "PUB_KEY_ID_0114232134912410000000000000";
    let world = World::new(pool).await;
    let mut config = world.wechat.config();
    let platform = |config: &_| billing::providers::wechat_pay::Platform::from_config(config);
    config.platform_public_key_id = ID.to_owned();
    let both = platform(&config).unwrap();
    config.platform_serial.clear();
    let only = platform(&config).unwrap();
    let now = world.clock.now();
    let believed = |platform: &billing::providers::wechat_pay::Platform, serial: &str| {
        let timestamp = now.timestamp().to_string();
        let message = format!("{timestamp}\nn\nbody\n");
        let signature = sign(&world.wechat.platform, message.as_bytes());
        let signed = billing::providers::wechat_pay::Signed {
            serial,
            timestamp: &timestamp,
            nonce: "n",
            signature: &signature,
            body: b"body",
        };
        platform.verify(signed, now).is_ok()
    };
    assert!(believed(&both, ID) && believed(&both, crate::wechat_pay::SERIAL));
    assert!(believed(&only, ID) && !believed(&only, crate::wechat_pay::SERIAL));
    config.platform_public_key_id.clear();
    config.download_certificates = false;
    assert!(
        platform(&config).is_err(),
        "without a key nothing is believed"
    );
}
