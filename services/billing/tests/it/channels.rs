use std::{collections::BTreeMap, sync::atomic::Ordering};

use chrono::Duration;
use sqlx::PgPool;
use tonic::Code;
use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::{
    AddPaymentChannelRequest, Order, OrderState, PaymentChannelState, PaymentProvider,
    order_service_server::OrderService,
};

use crate::{
    alipay::signed_form,
    wechat_pay::rsa,
    world::{World, YUAN, reason},
};

/// An order that waits at both providers, and its number.
async fn both(world: &World, account: AccountId, fen: i64) -> (Order, String) {
    let (order, number) = world.order(account, fen).await;
    let order = world.offer_at_alipay(account, &order).await;
    (order, number)
}

#[sqlx::test]
async fn an_order_is_offered_at_alipay_alone_and_paid_there(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let mut request = world.order_request(1234);
    request.provider = PaymentProvider::AlipayPrecreate.into();
    let order = world.create_order(account, &request).await.unwrap();
    let number = order.order_id.replace('-', "");
    assert_eq!(order.code_url, format!("https://qr.alipay.com/{number}"));
    let known = world.alipay.trades.lock()[&number].clone();
    assert_eq!(known.total, "12.34");
    assert_eq!(known.time_expire, "2026-11-23 12:30:00", "Beijing time");

    let notice = world.alipay.notice(&world.alipay.pay(&number));
    for _ in 0..3 {
        let answer = world.notify_alipay(notice.clone()).await;
        assert_eq!(answer, (200, b"success".to_vec()));
    }
    assert_eq!(world.balance(account).await, (12_340_000_000, 0));
    assert_eq!(world.order_state(account, &order).await, OrderState::Paid);
    assert_eq!(world.alipay.unsigned.load(Ordering::SeqCst), 0);
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_page_of_alipay_carries_what_the_app_signed(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let mut request = world.order_request(500);
    request.provider = PaymentProvider::AlipayPage.into();
    let order = world.create_order(account, &request).await.unwrap();
    let page: url::Url = order.code_url.parse().unwrap();
    let fields: BTreeMap<_, _> = page.query_pairs().into_owned().collect();
    assert_eq!(fields["method"], "alipay.trade.page.pay");
    assert!(fields["biz_content"].contains("FAST_INSTANT_TRADE_PAY"));
    assert!(fields["biz_content"].contains("\"5.00\""));
    assert!(!fields["sign"].is_empty());
}

#[sqlx::test]
async fn who_pays_on_both_channels_is_credited_once_and_gets_the_other_payment_back(pool: PgPool) {
    let world = World::new(pool).await;
    for alipay_first in [true, false] {
        let account = world.account();
        let (order, number) = both(&world, account, 1000).await;
        let wechat = world.wechat.pay(&number);
        let alipay = world.alipay.notice(&world.alipay.pay(&number));
        let (before, refunds) = (
            world.alipay.refunded.load(Ordering::SeqCst),
            world.wechat.refunds.lock().len(),
        );
        for at in [alipay_first, !alipay_first, alipay_first, !alipay_first] {
            if at {
                assert_eq!(world.notify_alipay(alipay.clone()).await.0, 200);
            } else {
                assert_eq!(world.notify(wechat.clone()).await, 204);
            }
        }
        assert_eq!(world.balance(account).await, (10 * YUAN, 0));
        assert_eq!(world.refund_due(account).await, 10 * YUAN);
        for _ in 0..5 {
            world.later(Duration::minutes(1)).await;
        }
        assert_eq!(world.refund_due(account).await, 0);
        assert_eq!(world.balance(account).await, (10 * YUAN, 0));
        let at_alipay = world.alipay.refunded.load(Ordering::SeqCst) - before;
        let at_wechat = world.wechat.refunds.lock().len() - refunds;
        let expected = if alipay_first { (0, 1) } else { (1, 0) };
        assert_eq!((at_alipay, at_wechat), expected);
        assert_eq!(world.order_state(account, &order).await, OrderState::Paid);
    }
    world.assert_sound().await;
    let told = "select count(*) from outbox where type = 'wanwu.billing.v1.PaymentRefunded'";
    let told: i64 = sqlx::query_scalar(told)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(told, 2);
}

#[sqlx::test]
async fn what_is_paid_at_one_provider_is_closed_at_the_other(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = both(&world, account, 1000).await;
    let notice = world.alipay.notice(&world.alipay.pay(&number));
    assert_eq!(world.notify_alipay(notice).await.0, 200);
    world.later(Duration::zero()).await;
    assert_eq!(world.wechat.orders.lock()[&number].trade_state, "CLOSED");
    let order = world.offer_at_alipay(account, &order).await;
    let states = order
        .channels
        .iter()
        .map(|channel| (channel.provider(), channel.state()));
    let states: std::collections::HashMap<_, _> = states.collect();
    let at_wechat = states[&PaymentProvider::WechatNative];
    assert_eq!(at_wechat, PaymentChannelState::Closed);
    let at_alipay = states[&PaymentProvider::AlipayPrecreate];
    assert_eq!(at_alipay, PaymentChannelState::Paid);
}

#[sqlx::test]
async fn lost_notices_of_both_channels_are_found_by_asking(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (_, number) = both(&world, account, 1000).await;
    world.wechat.pay(&number);
    world.alipay.pay(&number);
    for _ in 0..4 {
        world.later(Duration::seconds(5)).await;
    }
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
    assert_eq!(world.refund_due(account).await, 0);
    let at_alipay = world.alipay.refunded.load(Ordering::SeqCst);
    assert_eq!(at_alipay + world.wechat.refunds.lock().len(), 1);
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_refund_whose_answer_is_lost_is_sent_once(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (_, number) = both(&world, account, 1000).await;
    assert_eq!(world.notify(world.wechat.pay(&number)).await, 204);
    let notice = world.alipay.notice(&world.alipay.pay(&number));
    assert_eq!(world.notify_alipay(notice).await.0, 200);
    world.alipay.loses.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        world.later(Duration::minutes(1)).await;
    }
    assert_eq!(
        world.refund_due(account).await,
        10 * YUAN,
        "nobody said that it is done"
    );
    world.alipay.loses.store(false, Ordering::SeqCst);
    world.later(Duration::minutes(1)).await;
    assert_eq!(world.refund_due(account).await, 0);
    assert_eq!(world.alipay.refunded.load(Ordering::SeqCst), 1);
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_payment_at_a_provider_that_was_not_offered_is_refused(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = world.order(account, 1000).await;
    let other = both(&world, account, 1000).await.1;
    let mut fields = world.alipay.pay(&other);
    fields.insert("out_trade_no".to_owned(), number);
    let answer = world.notify_alipay(world.alipay.notice(&fields)).await;
    assert_eq!(answer, (400, b"failure".to_vec()));
    assert_eq!(world.balance(account).await, (0, 0));
    let state = world.order_state(account, &order).await;
    assert_eq!(state, OrderState::AwaitingPayment);
}

#[sqlx::test]
async fn forged_notices_of_alipay_credit_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (_, number) = both(&world, account, 1000).await;
    let paid = world.alipay.pay(&number);
    let true_notice = world.alipay.notice(&paid);
    let with = |name: &str, value: &str| {
        let mut fields = paid.clone();
        fields.insert(name.to_owned(), value.to_owned());
        world.alipay.notice(&fields)
    };
    let text = String::from_utf8(true_notice.clone()).unwrap();
    let stranger = aws_lc_rs::rsa::KeyPair::from_pkcs8(rsa().serialized_der()).unwrap();
    let cases = [
        ("another's signature", 401, signed_form(&paid, &stranger)),
        (
            "no signature",
            401,
            text.replace("&sign=", "&nothing=").into_bytes(),
        ),
        ("an old kind", 401, text.replace("RSA2", "RSA").into_bytes()),
        (
            "another amount",
            401,
            text.replace("10.00", "99.00").into_bytes(),
        ),
        (
            "a field twice",
            400,
            format!("{text}&app_id=1").into_bytes(),
        ),
        ("nothing", 401, Vec::new()),
        ("another app", 400, with("app_id", "2021000000000009")),
        ("another seller", 400, with("seller_id", "2088000000000009")),
        ("less", 400, with("total_amount", "0.01")),
        ("more", 400, with("total_amount", "1000.00")),
        ("no amount", 400, with("total_amount", "")),
        ("another order", 400, with("out_trade_no", &"7".repeat(32))),
        ("no trade", 400, with("trade_no", "")),
        ("an unknown state", 400, with("trade_status", "PAID")),
    ];
    for (what, status, notice) in cases {
        let answer = world.notify_alipay(notice).await;
        assert_eq!(answer, (status, b"failure".to_vec()), "{what}");
        assert_eq!(world.balance(account).await, (0, 0), "{what}");
    }
    for waiting in ["WAIT_BUYER_PAY", "TRADE_CLOSED"] {
        let answer = world.notify_alipay(with("trade_status", waiting)).await;
        assert_eq!(answer.0, 200, "{waiting}");
        assert_eq!(world.balance(account).await, (0, 0), "{waiting}");
    }
    assert_eq!(world.notify_alipay(true_notice).await.0, 200);
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
}

#[sqlx::test]
async fn answers_of_alipay_that_are_not_signed_decide_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (_, number) = both(&world, account, 1000).await;
    world.alipay.pay(&number);
    world.alipay.lies.store(true, Ordering::SeqCst);
    world.later(Duration::seconds(10)).await;
    assert_eq!(world.balance(account).await, (0, 0));
    world.alipay.lies.store(false, Ordering::SeqCst);
    world.later(Duration::seconds(30)).await;
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
}

#[sqlx::test]
async fn an_order_that_is_over_is_not_offered_any_more(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = world.order(account, 1000).await;
    let request = |order: &Order| AddPaymentChannelRequest {
        order_id: order.order_id.clone(),
        provider: PaymentProvider::AlipayPage.into(),
        payer: None,
    };
    let stranger = world.by(world.account(), request(&order));
    let refused = world.api.add_payment_channel(stranger).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(world.notify(world.wechat.pay(&number)).await, 204);
    let mine = world.by(account, request(&order));
    let refused = world.api.add_payment_channel(mine).await.unwrap_err();
    assert_eq!(reason(&refused), "ORDER_NOT_PAYABLE");
}
