use chrono::Duration;
use serde_json::json;
use sqlx::PgPool;
use tonic::Status;
use wanwu_clock::Clock;
use wanwu_ids::{AccountId, OperatorId};
use wanwu_proto::billing::v1::{
    ApproveRefundRequest, ListRefundsRequest, Refund, RefundReason, RefundState,
    RefuseRefundRequest, RequestRefundRequest, RetryRefundRequest,
    payment_callback_service_server::PaymentCallbackService, refund_service_server::RefundService,
};

use crate::{
    notices::{Draft, handed},
    world::{World, YUAN, reason},
};

/// A customer who paid 10 yuan, and the order.
async fn payer(world: &World) -> (AccountId, String) {
    let account = world.account();
    let (order, number) = world.order(account, 1000).await;
    assert_eq!(world.notify(world.wechat.pay(&number)).await, 204);
    (account, order.order_id)
}

fn asked(world: &World, order: &str, fen: i64) -> RequestRefundRequest {
    RequestRefundRequest {
        request_id: world.ids.id::<()>().to_string(),
        order_id: order.to_owned(),
        amount: world.order_request(fen).amount,
        reason: RefundReason::InfringementDispute.into(),
        case_id: "DISPUTE-2026/17".to_owned(),
        evidence_sha256: vec![7; 32],
        service_unusable: true,
    }
}

async fn request(
    world: &World,
    by: OperatorId,
    asked: RequestRefundRequest,
) -> Result<Refund, Status> {
    let answer = world
        .api
        .request_refund(world.by_operator(by, asked))
        .await?;
    Ok(answer.into_inner().refund.unwrap())
}

async fn approve(world: &World, by: OperatorId, refund: &Refund) -> Result<Refund, Status> {
    let refund_id = refund.refund_id.clone();
    let request = world.by_operator(by, ApproveRefundRequest { refund_id });
    let answer = world.api.approve_refund(request).await?;
    Ok(answer.into_inner().refund.unwrap())
}

async fn state(world: &World, refund: &Refund) -> RefundState {
    let request = world.by_operator(world.ids.id(), ListRefundsRequest::default());
    let listed = world.api.list_refunds(request).await.unwrap().into_inner();
    let found = listed
        .refunds
        .iter()
        .find(|r| r.refund_id == refund.refund_id);
    found.unwrap().state()
}

#[sqlx::test]
async fn a_refund_takes_two_people_and_moves_the_money_once(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, order) = payer(&world).await;
    let (first, second): (OperatorId, OperatorId) = (world.ids.id(), world.ids.id());
    let wanted = asked(&world, &order, 400);
    let refund = request(&world, first, wanted.clone()).await.unwrap();
    assert_eq!(request(&world, first, wanted).await.unwrap(), refund);
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
    let alone = approve(&world, first, &refund).await.unwrap_err();
    assert_eq!(reason(&alone), "SAME_OPERATOR");
    let approved = approve(&world, second, &refund).await.unwrap();
    assert_eq!(approved.decided_by, second.to_string());
    assert_eq!(world.balance(account).await, (6 * YUAN, 0));
    assert_eq!(world.refund_due(account).await, 4 * YUAN);
    let twice = approve(&world, second, &refund).await.unwrap_err();
    assert_eq!(reason(&twice), "REFUND_STATE");
    for _ in 0..3 {
        world.later(Duration::minutes(1)).await;
    }
    assert_eq!(state(&world, &refund).await, RefundState::Succeeded);
    assert_eq!(world.refund_due(account).await, 0);
    assert_eq!(world.wechat.refunds.lock().len(), 1);
    world.assert_sound().await;
}

#[sqlx::test]
async fn money_goes_back_only_for_the_coded_reasons_with_evidence(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, order) = payer(&world).await;
    let by = world.ids.id();
    let changes: [fn(&mut RequestRefundRequest); 9] = [
        |r| r.reason = 0,
        |r| r.reason = RefundReason::DuplicatePayment.into(),
        |r| r.reason = RefundReason::PaidAfterCancellation.into(),
        |r| r.service_unusable = false,
        |r| r.case_id.clear(),
        |r| r.case_id = "a name".to_owned(),
        |r| r.evidence_sha256.clear(),
        |r| r.amount = None,
        |r| r.order_id = "x".to_owned(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut bad = asked(&world, &order, 100);
        change(&mut bad);
        let refused = request(&world, by, bad).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_ARGUMENT", "{number}");
    }
    for lawful in [RefundReason::Minor, RefundReason::PrepaidNotProvided] {
        let mut good = asked(&world, &order, 100);
        (good.reason, good.service_unusable) = (lawful.into(), false);
        request(&world, by, good).await.unwrap();
    }
}

#[sqlx::test]
async fn never_more_goes_back_than_was_paid(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, order) = payer(&world).await;
    let (first, second): (OperatorId, OperatorId) = (world.ids.id(), world.ids.id());
    let all = (0..8).map(|_| request(&world, first, asked(&world, &order, 300)));
    let made: Vec<_> = futures::future::join_all(all).await;
    let made: Vec<_> = made.into_iter().filter_map(Result::ok).collect();
    assert_eq!(made.len(), 3, "3 x 3 yuan of 10");
    let more = request(&world, first, asked(&world, &order, 101)).await;
    assert_eq!(reason(&more.unwrap_err()), "REFUND_TOO_LARGE");
    // What was refused may be asked for again.
    let refund_id = made[0].refund_id.clone();
    let refuse = world.by_operator(second, RefuseRefundRequest { refund_id });
    world.api.refuse_refund(refuse).await.unwrap();
    request(&world, first, asked(&world, &order, 400))
        .await
        .unwrap();
    let past = "update refunds set amount_fen = amount_fen + 1 where state = 'requested'";
    assert!(sqlx::query(past).execute(&world.pool).await.is_err());
    let unpaid = world.order(account, 500).await.0.order_id;
    let nothing = request(&world, first, asked(&world, &unpaid, 100)).await;
    assert_eq!(reason(&nothing.unwrap_err()), "NOT_FOUND");
}

#[sqlx::test]
async fn what_was_spent_goes_back_after_what_is_left(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, order) = payer(&world).await;
    let lease = world.lease(account, world.epoch(), 3 * YUAN).await;
    let usage = world.usage(&lease, 1_000_000, 1_000_000);
    world.settle(&usage).await.unwrap();
    let (first, second): (OperatorId, OperatorId) = (world.ids.id(), world.ids.id());
    let refund = request(&world, first, asked(&world, &order, 1000))
        .await
        .unwrap();
    let lent = approve(&world, second, &refund).await.unwrap_err();
    assert_eq!(
        reason(&lent),
        "INSUFFICIENT_BALANCE",
        "a yuan is still lent"
    );
    world.close(&lease, 1, 2 * YUAN).await.unwrap();
    approve(&world, second, &refund).await.unwrap();
    assert_eq!(world.balance(account).await, (0, 0));
    assert_eq!(world.refund_due(account).await, 10 * YUAN);
    world.later(Duration::minutes(1)).await;
    assert_eq!(state(&world, &refund).await, RefundState::Succeeded);
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_refund_that_the_provider_closed_is_sent_again_under_a_new_number(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, order) = payer(&world).await;
    let (first, second): (OperatorId, OperatorId) = (world.ids.id(), world.ids.id());
    let refund = request(&world, first, asked(&world, &order, 400))
        .await
        .unwrap();
    approve(&world, second, &refund).await.unwrap();
    *world.wechat.refund_state.lock() = "PROCESSING";
    world.later(Duration::minutes(1)).await;
    assert_eq!(state(&world, &refund).await, RefundState::Sent);
    for known in world.wechat.refunds.lock().values_mut() {
        known.2 = "CLOSED";
    }
    world.later(Duration::minutes(1)).await;
    assert_eq!(state(&world, &refund).await, RefundState::Failed);
    assert_eq!(
        world.refund_due(account).await,
        4 * YUAN,
        "it is still owed"
    );
    *world.wechat.refund_state.lock() = "SUCCESS";
    let refund_id = refund.refund_id.clone();
    let retry = world.by_operator(second, RetryRefundRequest { refund_id });
    world.api.retry_refund(retry).await.unwrap();
    world.later(Duration::minutes(1)).await;
    assert_eq!(state(&world, &refund).await, RefundState::Succeeded);
    assert_eq!(world.refund_due(account).await, 0);
    assert_eq!(world.wechat.refunds.lock().len(), 2);
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_notice_ends_a_refund_once_and_only_its_own(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, order) = payer(&world).await;
    let (first, second): (OperatorId, OperatorId) = (world.ids.id(), world.ids.id());
    let refund = request(&world, first, asked(&world, &order, 400))
        .await
        .unwrap();
    approve(&world, second, &refund).await.unwrap();
    *world.wechat.refund_state.lock() = "PROCESSING";
    world.later(Duration::minutes(1)).await;
    let (number, known) = world.wechat.refunds.lock().pop_first().unwrap();
    let told = json!({
        "mchid": crate::wechat_pay::MCHID,
        "out_refund_no": number,
        "transaction_id": known.0,
        "refund_status": "SUCCESS",
        "amount": {"refund": 400, "total": 1000},
    });
    let notice = |told: serde_json::Value| {
        let mut draft = Draft::new(told, world.clock.now());
        draft.event_type = "REFUND.SUCCESS";
        handed(&draft.sign(&world.wechat.platform))
    };
    let answer = async |told| {
        let answer = world.api.receive_we_chat_pay_callback(notice(told)).await;
        answer.unwrap().into_inner().http_status
    };
    for (pointer, value) in [
        ("/mchid", json!("1900000009")),
        ("/out_refund_no", json!(number.replace("R1", "R2"))),
        ("/transaction_id", json!("42")),
        ("/amount/refund", json!(401)),
    ] {
        let mut other = told.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        assert_eq!(answer(other).await, 400, "{pointer}");
        assert_eq!(state(&world, &refund).await, RefundState::Sent, "{pointer}");
    }
    for _ in 0..3 {
        assert_eq!(answer(told.clone()).await, 204);
    }
    assert_eq!(state(&world, &refund).await, RefundState::Succeeded);
    assert_eq!(world.refund_due(account).await, 0);
    world.assert_sound().await;
}
