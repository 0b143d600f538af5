use std::sync::atomic::Ordering;

use billing::events::KeepAgreement;
use chrono::Duration;
use sqlx::PgPool;
use tonic::Code;
use wanwu_clock::Clock;
use wanwu_proto::{
    billing::v1::{
        GetOrderRequest, ListOrdersRequest, Order, OrderState, order_service_server::OrderService,
    },
    privacy::v1::AgreementPublished,
};

use crate::world::{World, nanos, reason};

#[sqlx::test]
async fn an_order_gets_a_code_from_the_provider(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = world.order(account, 1234).await;
    assert_eq!(nanos(order.amount), 12_340_000_000);
    assert_eq!(
        order.code_url,
        format!("weixin://wxpay/bizpayurl?pr={number}")
    );
    let known = world.wechat.orders.lock()[&number].clone();
    assert_eq!((known.total, known.trade_state), (1234, "NOTPAY"));
    assert_eq!(known.time_expire, "2026-11-23T04:30:00Z");
    assert_eq!(world.wechat.unsigned.load(Ordering::SeqCst), 0);
    assert_eq!(world.balance(account).await, (0, 0));
}

#[sqlx::test]
async fn a_repeated_request_is_the_same_order_for_ever(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let request = world.order_request(500);
    let first = world.create_order(account, &request).await.unwrap();
    world.clock.advance(chrono::Duration::days(700));
    assert_eq!(world.create_order(account, &request).await.unwrap(), first);
    assert_eq!(world.wechat.prepays.load(Ordering::SeqCst), 1);

    let mut other = request.clone();
    other.amount.as_mut().unwrap().units += 1;
    let refused = world.create_order(account, &other).await.unwrap_err();
    assert_eq!(reason(&refused), "REQUEST_ID_REUSED");
    // Another account's request of the same name is another request.
    let theirs = world.create_order(world.account(), &request).await.unwrap();
    assert_ne!(theirs.order_id, first.order_id);
}

#[sqlx::test]
async fn twenty_repetitions_at_once_are_one_order(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, request) = (world.account(), world.order_request(500));
    let all = (0..20).map(|_| world.create_order(account, &request));
    let orders = futures::future::join_all(all).await;
    let first = orders[0].as_ref().unwrap();
    for order in &orders {
        assert_eq!(order.as_ref().unwrap().order_id, first.order_id);
    }
    assert_eq!(world.wechat.orders.lock().len(), 1);
}

#[sqlx::test]
async fn an_order_whose_provider_failed_stands_and_is_finished_by_a_repetition(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, request) = (world.account(), world.order_request(500));
    for fault in [&world.wechat.fails, &world.wechat.lies] {
        fault.store(true, Ordering::SeqCst);
        let refused = world.create_order(account, &request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert_eq!(reason(&refused), "PROVIDER_UNAVAILABLE");
        fault.store(false, Ordering::SeqCst);
    }
    // The answer that was not believed had reached the provider: the same order is asked for again.
    let order = world.create_order(account, &request).await.unwrap();
    assert_eq!(order.state(), OrderState::AwaitingPayment);
    assert_eq!(world.wechat.orders.lock().len(), 1);
}

#[sqlx::test]
async fn only_the_owner_sees_an_order(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, _) = world.order(account, 500).await;
    let get = |id: &str| GetOrderRequest {
        order_id: id.to_owned(),
    };
    let mine = world.by(account, get(&order.order_id));
    let read = world.api.get_order(mine).await.unwrap().into_inner();
    assert_eq!(read.order, Some(order.clone()), "as it was answered first");
    for (who, id, code) in [
        (world.account(), order.order_id.as_str(), Code::NotFound),
        (account, &world.account().to_string(), Code::NotFound),
        (account, "x", Code::InvalidArgument),
    ] {
        let refused = world.api.get_order(world.by(who, get(id))).await;
        assert_eq!(refused.unwrap_err().code(), code, "{id}");
    }
    let theirs = world.by(world.account(), ListOrdersRequest::default());
    let theirs = world.api.list_orders(theirs).await.unwrap().into_inner();
    assert_eq!(theirs.orders, []);
}

#[sqlx::test]
async fn orders_are_listed_newest_first_page_by_page(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let mut made = Vec::new();
    for fen in 1..=5 {
        made.insert(0, world.order(account, fen).await.0);
        world.clock.advance(chrono::Duration::seconds(1));
    }
    let (mut read, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListOrdersRequest {
            page_size: 2,
            page_token,
        };
        let page = world.api.list_orders(world.by(account, request)).await;
        let page = page.unwrap().into_inner();
        assert!(page.orders.len() <= 2);
        read.extend(page.orders);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(read, made);
}

#[sqlx::test]
async fn amounts_and_providers_that_cannot_be_are_refused(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let good = world.order_request(100);
    let mut cases = Vec::new();
    for change in 0..6 {
        let mut bad = good.clone();
        let amount = bad.amount.as_mut().unwrap();
        let field = match change {
            0 => {
                amount.nanos = 5_000_000;
                "amount"
            }
            1 => {
                amount.units = -1;
                "amount"
            }
            2 => {
                amount.currency_code = "USD".to_owned();
                "amount"
            }
            3 => {
                bad.amount = None;
                "amount"
            }
            4 => {
                bad.provider = 0;
                "provider"
            }
            _ => {
                bad.request_id = "mine".to_owned();
                "request_id"
            }
        };
        cases.push((bad, field));
    }
    for (bad, field) in cases {
        let refused = world.create_order(account, &bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{bad:?}");
        assert!(refused.message().contains(field) || !reason(&refused).is_empty());
    }
    assert_eq!(world.wechat.prepays.load(Ordering::SeqCst), 0);
}

#[sqlx::test]
async fn an_order_names_the_price_list_of_its_time_and_the_payment_that_paid_it(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = world.order(account, 1234).await;
    assert_eq!((order.price_version, &order.payment), (1, &None));
    // A list that comes into force between order and payment changes nothing.
    let folder = tempfile::tempdir().unwrap();
    let list = "version = 2\neffective_time = \"2026-11-23T04:01:00Z\"\n\n[[prices]]\nmodel = \"m\"\n\
                input_token = 1\noutput_token = 1\n";
    std::fs::write(folder.path().join("2.toml"), list).unwrap();
    world
        .app()
        .publish_price_lists(folder.path())
        .await
        .unwrap();
    world.clock.advance(chrono::Duration::minutes(2));
    let transaction = world.wechat.pay(&number);
    assert_eq!(world.notify(transaction.clone()).await, 204);

    let request = ListOrdersRequest::default();
    let orders = world.api.list_orders(world.by(account, request)).await;
    let order = orders.unwrap().into_inner().orders.remove(0);
    assert_eq!((order.state(), order.price_version), (OrderState::Paid, 1));
    let payment = order.payment.unwrap();
    assert_eq!(payment.provider(), order.channels[0].provider());
    assert_eq!(
        payment.provider_transaction_id,
        transaction["transaction_id"]
    );
    assert_eq!(nanos(payment.amount), 12_340_000_000);
    // 12:00:03 in China: by the provider, not by when we heard of it.
    assert_eq!(payment.pay_time.unwrap().seconds, 1_795_406_403);
    let (later, _) = world.order(account, 1).await;
    assert_eq!(later.price_version, 2);
}

#[sqlx::test]
async fn an_order_goes_by_the_versions_that_were_in_force_when_it_was_made(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (made, _) = world.order(account, 100).await;
    assert_eq!(made.agreements, [], "none was told yet");
    let tell = async |agreement: &str, number: i32, in_days: i64| {
        let version_id = world.ids.id::<()>().to_string();
        let at = world.clock.now() + Duration::days(in_days);
        let event = AgreementPublished {
            version_id: version_id.clone(),
            agreement: agreement.to_owned(),
            effective_time: Some(prost_types::Timestamp {
                seconds: at.timestamp(),
                nanos: 0,
            }),
            number,
        };
        world.hear(KeepAgreement, event.clone()).await;
        world.hear(KeepAgreement, event).await;
        version_id
    };
    let terms_2 = tell("terms_of_service", 2, -1).await;
    tell("terms_of_service", 1, -700).await;
    let privacy_1 = tell("privacy_policy", 1, -700).await;
    let terms_3 = tell("terms_of_service", 3, 7).await;
    let pinned = |order: &Order| -> Vec<(String, i32)> {
        let pinned = order.agreements.iter();
        pinned
            .map(|pinned| (pinned.version_id.clone(), pinned.number))
            .collect()
    };
    let before = [(privacy_1.clone(), 1), (terms_2, 2)];
    let (first, _) = world.order(account, 100).await;
    assert_eq!(pinned(&first), before);
    assert_eq!(first.price_version, 1);
    world.clock.advance(Duration::days(8));
    let (second, _) = world.order(account, 100).await;
    assert_eq!(pinned(&second), [(privacy_1, 1), (terms_3, 3)]);
    // A later version changes nothing of an earlier order, and neither can anybody here.
    let order_id = first.order_id.clone();
    let read = world.by(account, GetOrderRequest { order_id });
    let read = world.api.get_order(read).await.unwrap().into_inner().order;
    assert_eq!(pinned(&read.unwrap()), before);
    for change in [
        "update orders set agreements = '[]'",
        "update orders set price_version = 2",
        "update agreement_versions set effective_at = now()",
        "delete from agreement_versions",
    ] {
        let refused = sqlx::query(change).execute(&world.pool).await;
        let error = refused.unwrap_err().into_database_error().unwrap();
        assert_eq!(error.code().as_deref(), Some("23001"), "{change}");
    }
}
