mod shop;

use sqlx::PgPool;
use tonic::{Code, Request};
use wanwu_ids::OperatorId;
use wanwu_proto::billing::v1::{
    CreateProductOrderRequest, FulfilmentState, GetDeliveryRequest, ListMoneyAccessesRequest,
    ListPaymentMethodsRequest, ListProductsRequest, OrderState, PaymentProvider,
    money_service_server::MoneyService, order_service_server::OrderService,
    product_service_server::ProductService,
};

use crate::world::{YUAN, nanos, reason};
use shop::Shop;

#[sqlx::test]
async fn a_delivered_order_needs_a_recipient_whose_data_is_sealed_and_masked(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let account = shop.world.account();
    let changes: [fn(&mut CreateProductOrderRequest); 5] = [
        |r| r.recipient = None,
        |r| r.recipient.as_mut().unwrap().name.clear(),
        |r| r.recipient.as_mut().unwrap().phone = "12345".to_owned(),
        |r| r.recipient.as_mut().unwrap().address = "厦门".to_owned(),
        |r| r.quantity = 0,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut bad = shop.handbook(2);
        change(&mut bad);
        let refused = shop.order(account, bad).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_ARGUMENT", "{number}");
    }
    let order = shop.order(account, shop.handbook(2)).await.unwrap();
    let masked = order.masked_recipient.clone().unwrap();
    assert_eq!(
        (
            masked.name.as_str(),
            masked.phone.as_str(),
            masked.address.as_str()
        ),
        ("王**", "*******5678", "福建省****")
    );
    let rows: Vec<String> = sqlx::query_scalar("select f::text from fulfilments f")
        .fetch_all(&shop.world.pool)
        .await
        .unwrap();
    for secret in ["王小明", "13812345678", "思明区"] {
        assert!(!rows.concat().contains(secret) && !rows.concat().contains(&hex::encode(secret)));
    }
    // A service is not delivered: nobody's address is asked for.
    let mut service = shop.day();
    service.recipient = shop.handbook(1).recipient;
    assert_eq!(
        reason(&shop.order(account, service).await.unwrap_err()),
        "INVALID_ARGUMENT"
    );
    assert!(
        shop.order(account, shop.day())
            .await
            .unwrap()
            .masked_recipient
            .is_none()
    );
    // Whoever ships it sees it once it is paid, and that is written down.
    let order_id = order.order.clone().unwrap().order_id;
    let who: OperatorId = shop.world.ids.id();
    let look = || {
        shop.world.by_operator(
            who,
            GetDeliveryRequest {
                order_id: order_id.clone(),
            },
        )
    };
    assert_eq!(
        reason(&shop.api.get_delivery(look()).await.unwrap_err()),
        "FULFILMENT_STATE"
    );
    shop.pay(&order).await;
    let seen = shop
        .api
        .get_delivery(look())
        .await
        .unwrap()
        .into_inner()
        .recipient
        .unwrap();
    assert_eq!(Some(seen), shop.handbook(2).recipient);
    let request = shop
        .world
        .by_operator(who, ListMoneyAccessesRequest::default());
    let noted = shop
        .world
        .api
        .list_money_accesses(request)
        .await
        .unwrap()
        .into_inner()
        .accesses;
    assert_eq!(
        (noted.len(), noted[0].action.as_str(), &noted[0].subject),
        (1, "delivery", &order_id)
    );
}

#[sqlx::test]
async fn an_order_holds_its_number_items_amount_and_provider_and_never_changes(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let account = shop.world.account();
    let wanted = shop.handbook(3);
    let order = shop.order(account, wanted.clone()).await.unwrap();
    assert_eq!(shop.order(account, wanted).await.unwrap(), order);
    let inner = order.order.clone().unwrap();
    assert_eq!(nanos(inner.amount.clone()), 3 * 88 * YUAN);
    assert_eq!(inner.provider(), PaymentProvider::WechatNative);
    assert_eq!(
        (
            order.quantity,
            order.product.clone().unwrap().catalogue_version
        ),
        (3, 1)
    );
    // The payer reads what they buy.
    let (_, body) = shop.world.wechat.bodies.lock().pop().unwrap();
    assert_eq!(body["description"], "万物开发手册（纸质）");
    for change in [
        "update orders set amount_fen = amount_fen - 1",
        "update orders set account_id = gen_random_uuid()",
        "update orders set provider = 'alipay_page'",
        "update orders set expires_at = expires_at + interval '1 day'",
        "update order_items set quantity = quantity - 1",
        "update order_items set product_id = 'integration-day'",
        "delete from order_items",
    ] {
        assert!(
            sqlx::query(change).execute(&shop.world.pool).await.is_err(),
            "{change}"
        );
    }
    // The version before would credit what is paid for it.
    let credit = "insert into transfers (transfer_id, kind, cause_id, booked_at)
                  select gen_random_uuid(), 'top_up', order_id, now() from order_items";
    let refused = sqlx::query(credit).execute(&shop.world.pool).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("brings no credit")
    );
    let stranger = shop.read(shop.world.account(), &inner.order_id).await;
    assert_eq!(stranger.unwrap_err().code(), Code::NotFound);
    let top_up = shop.world.order(account, 100).await.0.order_id;
    assert_eq!(
        shop.read(account, &top_up).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[sqlx::test]
async fn a_product_with_terms_of_its_own_is_ordered_only_with_their_current_version(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let account = shop.world.account();
    for other in ["", "goods-terms-0", "goods-terms-2"] {
        let mut declined = shop.handbook(1);
        declined.accepted_addendum = other.to_owned();
        let refused = shop.order(account, declined).await.unwrap_err();
        assert_eq!(reason(&refused), "ADDENDUM_NOT_ACCEPTED", "{other}");
    }
    // Declining stops that product, and nothing else.
    shop.order(account, shop.day()).await.unwrap();
    shop.world.order(account, 100).await;
    let ordered = shop.order(account, shop.handbook(1)).await.unwrap();
    assert_eq!(ordered.order.unwrap().addendum, "goods-terms-1", "pinned");
    let accepted: String = sqlx::query_scalar(
        "select addendum from order_items where product_id = 'printed-handbook'",
    )
    .fetch_one(&shop.world.pool)
    .await
    .unwrap();
    assert_eq!(accepted, "goods-terms-1");
}

#[sqlx::test]
async fn what_is_paid_for_a_product_is_held_until_it_is_provided(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let account = shop.world.account();
    let order = shop.order(account, shop.handbook(1)).await.unwrap();
    let unpaid = order.order.clone().unwrap().order_id;
    assert_eq!(
        reason(
            &shop
                .record(&unpaid, FulfilmentState::Shipped)
                .await
                .unwrap_err()
        ),
        "FULFILMENT_STATE"
    );
    let order_id = shop.pay(&order).await;
    assert_eq!(shop.world.balance(account).await, (0, 0), "it is no credit");
    assert_eq!(shop.books(account).await, (88 * YUAN, 0));
    shop.give_back(&order_id, 1000).await;
    assert_eq!(shop.books(account).await, (78 * YUAN, 0));
    let early = shop.record(&order_id, FulfilmentState::Completed).await;
    assert_eq!(
        reason(&early.unwrap_err()),
        "FULFILMENT_STATE",
        "it was not sent yet"
    );
    for state in [FulfilmentState::Shipped, FulfilmentState::Completed] {
        shop.record(&order_id, state).await.unwrap();
        let read = shop.read(account, &order_id).await.unwrap();
        assert_eq!(
            (read.fulfilment(), read.tracking.as_str()),
            (state, "SF1234567890")
        );
        assert_eq!(read.order.unwrap().state(), OrderState::Paid);
    }
    assert_eq!(shop.books(account).await, (0, 78 * YUAN));
    let twice = shop.record(&order_id, FulfilmentState::Completed).await;
    assert_eq!(reason(&twice.unwrap_err()), "FULFILMENT_STATE");
    shop.give_back(&order_id, 500).await;
    assert_eq!(shop.books(account).await, (0, 73 * YUAN));
    shop.world.later(chrono::Duration::minutes(1)).await;
    shop.world.assert_sound().await;
}

#[sqlx::test]
async fn nothing_is_ordered_that_was_not_named(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let account = shop.world.account();
    for product in ["", "printed-handbook,integration-day", "everything"] {
        let mut unnamed = shop.handbook(1);
        unnamed.product_id = product.to_owned();
        assert_eq!(
            shop.order(account, unnamed).await.unwrap_err().code(),
            Code::NotFound,
            "{product}"
        );
    }
    shop.order(account, shop.handbook(1)).await.unwrap();
    let items: i64 = sqlx::query_scalar("select count(*) from order_items")
        .fetch_one(&shop.world.pool)
        .await
        .unwrap();
    assert_eq!(items, 1);
}

#[sqlx::test]
async fn each_product_says_whom_to_ask_and_each_way_to_pay_what_to_read(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let listed = shop
        .api
        .list_products(Request::new(ListProductsRequest {}))
        .await;
    let listed = listed.unwrap().into_inner().products;
    assert_eq!(listed.len(), 2);
    assert!(
        listed.iter().all(|product| !product.support.is_empty()),
        "{listed:?}"
    );
    let request = Request::new(ListPaymentMethodsRequest {});
    let methods = shop
        .world
        .api
        .list_payment_methods(request)
        .await
        .unwrap()
        .into_inner()
        .methods;
    assert_eq!(methods.len(), 5);
    for method in methods {
        assert_eq!(method.notice_id, "third_party_payment_v1");
        assert!(
            method.notice.contains("隐私政策") && !method.legal_urls.is_empty(),
            "{method:?}"
        );
    }
}

#[sqlx::test]
async fn a_catalogue_that_was_changed_under_its_version_stops_the_service(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let folder = tempfile::tempdir().unwrap();
    let text = include_str!("../../products/0001.toml");
    std::fs::write(folder.path().join("0001.toml"), text).unwrap();
    shop.world
        .app()
        .publish_catalogues(folder.path())
        .await
        .unwrap();
    let changed = text.replace("unit_fen = 8800", "unit_fen = 8801");
    std::fs::write(folder.path().join("0001.toml"), changed).unwrap();
    let stopped = shop.world.app().publish_catalogues(folder.path()).await;
    assert!(stopped.unwrap_err().to_string().contains("other products"));
}
