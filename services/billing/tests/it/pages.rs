use std::collections::BTreeSet;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::Duration;
use serde_json::Value;
use sqlx::PgPool;
use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::{
    AddPaymentChannelRequest, CreateTopUpOrderRequest, ListPaymentSharesRequest, OrderState, Payer,
    PaymentProvider, PaymentShare, order_service_server::OrderService,
};

use crate::world::{World, YUAN, reason};

const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";

fn page(world: &World, provider: PaymentProvider, payer: Payer) -> CreateTopUpOrderRequest {
    CreateTopUpOrderRequest {
        provider: provider.into(),
        payer: Some(payer),
        ..world.order_request(300)
    }
}

fn phone(address: &str) -> Payer {
    Payer {
        client_ip: address.to_owned(),
        openid: String::new(),
    }
}

fn inside(openid: &str) -> Payer {
    Payer {
        client_ip: String::new(),
        openid: openid.to_owned(),
    }
}

async fn shares(world: &World, account: AccountId, order_id: &str) -> Vec<PaymentShare> {
    let order_id = order_id.to_owned();
    let request = world.by(account, ListPaymentSharesRequest { order_id });
    let answer = world.api.list_payment_shares(request).await.unwrap();
    answer.into_inner().shares
}

/// Every key of a body, with dots between levels.
fn keys(body: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    for (name, value) in body.as_object().unwrap() {
        match value {
            Value::Object(_) => keys(value, &format!("{prefix}{name}."), found),
            _ => {
                found.insert(format!("{prefix}{name}"));
            }
        }
    }
}

fn keys_of(body: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    keys(body, "", &mut found);
    found
}

#[sqlx::test]
async fn a_phone_gets_a_page_and_its_payment_is_credited(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let request = page(&world, PaymentProvider::WechatH5, phone("120.36.1.9"));
    let order = world.create_order(account, &request).await.unwrap();
    assert!(
        order.code_url.starts_with("https://wx.tenpay.com/"),
        "{order:?}"
    );
    // From another network it is the same order.
    let again = CreateTopUpOrderRequest {
        payer: Some(phone("2408:8207::1")),
        ..request
    };
    assert_eq!(world.create_order(account, &again).await.unwrap(), order);
    let number = order.order_id.replace('-', "");
    assert_eq!(world.notify(world.wechat.pay(&number)).await, 204);
    assert_eq!(world.order_state(account, &order).await, OrderState::Paid);
    assert_eq!(world.balance(account).await, (3 * YUAN, 0));
}

#[sqlx::test]
async fn a_page_inside_wechat_gets_parameters_that_the_merchant_signed(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let request = page(&world, PaymentProvider::WechatJsapi, inside(OPENID));
    let order = world.create_order(account, &request).await.unwrap();
    assert_eq!(order.code_url, "");
    let jsapi = order.channels[0].jsapi.clone().unwrap();
    let number = order.order_id.replace('-', "");
    assert_eq!(jsapi.package, format!("prepay_id=wx{number}"));
    assert_eq!(jsapi.sign_type, "RSA");
    let message = format!(
        "{}\n{}\n{}\n{}\n",
        jsapi.app_id, jsapi.time_stamp, jsapi.nonce_str, jsapi.package
    );
    let signature = STANDARD.decode(&jsapi.pay_sign).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &world.wechat.merchant)
        .verify(message.as_bytes(), &signature)
        .unwrap();
    assert_eq!(world.create_order(account, &request).await.unwrap(), order);
}

#[sqlx::test]
async fn a_page_without_what_its_provider_asks_of_the_payer_is_refused(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    for (provider, payer) in [
        (PaymentProvider::WechatH5, phone("")),
        (PaymentProvider::WechatH5, phone("localhost")),
        (PaymentProvider::WechatH5, inside(OPENID)),
        (PaymentProvider::WechatJsapi, inside("")),
        (PaymentProvider::WechatJsapi, inside("a b")),
        (PaymentProvider::WechatJsapi, phone("120.36.1.9")),
    ] {
        let request = page(&world, provider, payer);
        let refused = world.create_order(account, &request).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_ARGUMENT");
        assert!(!refused.message().contains(OPENID));
    }
}

#[sqlx::test]
async fn providers_are_told_number_description_and_amount_and_each_sending_has_a_record(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let account = world.account();
    let wechat = [
        "appid",
        "mchid",
        "description",
        "out_trade_no",
        "time_expire",
        "notify_url",
        "amount.total",
        "amount.currency",
    ];
    for (provider, payer, more, shared) in [
        (
            PaymentProvider::WechatNative,
            phone("120.36.1.9"),
            vec![],
            None,
        ),
        (
            PaymentProvider::WechatH5,
            phone("120.36.1.9"),
            vec!["scene_info.payer_client_ip", "scene_info.h5_info.type"],
            Some("payer_address"),
        ),
        (
            PaymentProvider::WechatJsapi,
            inside(OPENID),
            vec!["payer.openid"],
            Some("payer_openid"),
        ),
    ] {
        let request = page(&world, provider, payer);
        let order = world.create_order(account, &request).await.unwrap();
        let (_, body) = world.wechat.bodies.lock().pop().unwrap();
        let allowed = wechat.iter().chain(&more).map(|key| (*key).to_owned());
        assert_eq!(keys_of(&body), allowed.collect(), "{provider:?}");
        let mut fields = vec!["order_number", "description", "amount", "expiry"];
        fields.extend(shared);
        let records = shares(&world, account, &order.order_id).await;
        assert_eq!(records.len(), 1);
        assert_eq!(
            (records[0].recipient.as_str(), records[0].purpose.as_str()),
            ("wechat", "offer")
        );
        assert_eq!(records[0].fields, fields);
    }
    let (order, _) = world.order(account, 500).await;
    let offered = world.offer_at_alipay(account, &order).await;
    let (_, content) = world.alipay.contents.lock().pop().unwrap();
    let allowed = ["out_trade_no", "total_amount", "subject", "time_expire"];
    assert_eq!(keys_of(&content), allowed.map(str::to_owned).into());
    let records = shares(&world, account, &offered.order_id).await;
    let mut who: Vec<_> = records
        .iter()
        .map(|record| record.recipient.as_str())
        .collect();
    // At one instant: in no order.
    who.sort_unstable();
    assert_eq!(who, ["alipay", "wechat"]);
    // What failed at the provider was sent all the same.
    world
        .alipay
        .fails
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let (order, _) = world.order(account, 600).await;
    let request = AddPaymentChannelRequest {
        order_id: order.order_id.clone(),
        provider: PaymentProvider::AlipayPrecreate.into(),
        payer: None,
    };
    let failed = world
        .api
        .add_payment_channel(world.by(account, request))
        .await;
    assert_eq!(reason(&failed.unwrap_err()), "PROVIDER_UNAVAILABLE");
    assert_eq!(shares(&world, account, &order.order_id).await.len(), 2);
}

#[sqlx::test]
async fn a_refund_tells_numbers_and_amounts_and_has_a_record(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(300).await;
    // Paid twice: the second payment goes back by itself.
    let order_id: uuid::Uuid = sqlx::query_scalar("select order_id from orders")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    let number = order_id.simple().to_string();
    let mut second = world.wechat.pay(&number);
    second["transaction_id"] = "4299999999".into();
    assert_eq!(world.notify(second).await, 204);
    world.later(Duration::seconds(1)).await;
    let (path, body) = world.wechat.bodies.lock().pop().unwrap();
    assert_eq!(path, "/v3/refund/domestic/refunds");
    let allowed = [
        "transaction_id",
        "out_refund_no",
        "notify_url",
        "amount.refund",
        "amount.total",
        "amount.currency",
    ];
    assert_eq!(keys_of(&body), allowed.map(str::to_owned).into());
    let records = shares(&world, account, &order_id.to_string()).await;
    let last = records.last().unwrap();
    assert_eq!(last.purpose, "refund");
    assert_eq!(last.fields, ["payment_number", "refund_number", "amount"]);
    let change = sqlx::query("update payment_shares set recipient = 'alipay'");
    assert!(
        change.execute(&world.pool).await.is_err(),
        "records are never changed"
    );
}
