use chrono::{DateTime, Duration, Utc};
use prost::Message;
use prost_types::Timestamp;
use sqlx::PgPool;
use tonic::Status;
use wanwu_clock::Clock;
use wanwu_ids::{AccountId, OperatorId};
use wanwu_proto::{
    billing::v1::{
        ApproveTerminationRequest, GetTerminationRequest, ListRefundsRequest, RefundReason,
        RefundState, RequestTerminationRequest, Termination, TerminationState,
        WithdrawTerminationRequest, refund_service_server::RefundService,
        termination_service_server::TerminationService,
    },
    identity::v1::NotificationRequested,
};

use crate::world::{PRICES, World, YUAN, nanos, reason};

fn wanted(world: &World, account: AccountId, end: DateTime<Utc>) -> RequestTerminationRequest {
    RequestTerminationRequest {
        request_id: world.ids.id::<()>().to_string(),
        account_id: account.to_string(),
        end_time: Some(Timestamp {
            seconds: end.timestamp(),
            nanos: 0,
        }),
        case_id: "CASE-7".to_owned(),
    }
}

async fn request(
    world: &World,
    by: OperatorId,
    wanted: RequestTerminationRequest,
) -> Result<Termination, Status> {
    let request = world.by_operator(by, wanted);
    let answer = world.api.request_termination(request).await?;
    Ok(answer.into_inner().termination.unwrap())
}

async fn approve(world: &World, by: OperatorId, it: &Termination) -> Result<Termination, Status> {
    let termination_id = it.termination_id.clone();
    let request = world.by_operator(by, ApproveTerminationRequest { termination_id });
    let answer = world.api.approve_termination(request).await?;
    Ok(answer.into_inner().termination.unwrap())
}

pub(crate) async fn read(world: &World, it: &Termination) -> Termination {
    let termination_id = it.termination_id.clone();
    let request = world.by_operator(world.ids.id(), GetTerminationRequest { termination_id });
    let answer = world.api.get_termination(request).await.unwrap();
    answer.into_inner().termination.unwrap()
}

/// Midnight in China after thirty whole days that follow the 23rd.
pub(crate) fn earliest() -> DateTime<Utc> {
    "2026-12-23T16:00:00Z".parse().unwrap()
}

/// Notice is given now; the contract ends at the earliest instant.
pub(crate) async fn noticed(world: &World, account: AccountId) -> Termination {
    let operators: (OperatorId, OperatorId) = (world.ids.id(), world.ids.id());
    let it = request(world, operators.0, wanted(world, account, earliest()))
        .await
        .unwrap();
    approve(world, operators.1, &it).await.unwrap()
}

pub(crate) async fn notifications(world: &World) -> Vec<NotificationRequested> {
    let sql = "select payload from outbox where type like '%NotificationRequested' order by created_at, event_id";
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(sql)
        .fetch_all(&world.pool)
        .await
        .unwrap();
    rows.iter()
        .map(|row| NotificationRequested::decode(&row[..]).unwrap())
        .collect()
}

#[sqlx::test]
async fn notice_is_given_thirty_days_before_by_two_people(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (first, second): (OperatorId, OperatorId) = (world.ids.id(), world.ids.id());
    let early = wanted(&world, account, earliest() - Duration::seconds(1));
    assert_eq!(
        reason(&request(&world, first, early).await.unwrap_err()),
        "NOTICE_TOO_SHORT"
    );
    let good = wanted(&world, account, earliest());
    let it = request(&world, first, good.clone()).await.unwrap();
    assert_eq!(request(&world, first, good).await.unwrap(), it);
    let another = request(&world, first, wanted(&world, account, earliest())).await;
    assert_eq!(reason(&another.unwrap_err()), "TERMINATION_STATE");
    assert_eq!(
        reason(&approve(&world, first, &it).await.unwrap_err()),
        "SAME_OPERATOR"
    );
    assert_eq!(
        notifications(&world).await,
        [],
        "nobody is told of a request"
    );
    // Decided a day later, the thirty days would be fewer.
    world.clock.advance(Duration::days(1));
    assert_eq!(
        reason(&approve(&world, second, &it).await.unwrap_err()),
        "NOTICE_TOO_SHORT"
    );
    let termination_id = it.termination_id.clone();
    let withdraw = world.by_operator(second, WithdrawTerminationRequest { termination_id });
    world.api.withdraw_termination(withdraw).await.unwrap();
    let later = earliest() + Duration::days(1);
    let it = request(&world, first, wanted(&world, account, later))
        .await
        .unwrap();
    let it = approve(&world, second, &it).await.unwrap();
    assert_eq!(it.state(), TerminationState::Noticed);
    let told = notifications(&world).await;
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].template.as_str(), told[0].params["date"].as_str()),
        ("termination_notice", "2026-12-25")
    );
    assert_eq!(told[0].account_id, account.to_string());
    world.clock.advance(Duration::days(29));
    assert_eq!(world.app().end_contracts().await.unwrap(), 0);
    assert_eq!(read(&world, &it).await.state(), TerminationState::Noticed);
}

#[sqlx::test]
async fn at_the_end_each_order_gets_back_what_was_not_provided_and_never_more_than_was_paid(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let account = world.account();
    let mut orders = Vec::new();
    for fen in [500, 700] {
        let (order, number) = world.order(account, fen).await;
        assert_eq!(world.notify(world.wechat.pay(&number)).await, 204);
        world.clock.advance(Duration::seconds(1));
        orders.push(order.order_id);
    }
    // 6 yuan are spent: all of the first order and 1 yuan of the second, less a little.
    let lease = world.lease(account, world.epoch(), 6 * YUAN).await;
    let usage = world.usage(&lease, 6 * YUAN / PRICES.0, 0);
    world.settle(&usage).await.unwrap();
    let it = noticed(&world, account).await;
    world.clock.advance(earliest() - world.clock.now());
    assert_eq!(
        world.app().end_contracts().await.unwrap(),
        0,
        "the time is over"
    );
    assert_eq!(
        world.app().end_contracts().await.unwrap(),
        0,
        "something is lent"
    );
    let more = world.lease_request(account, world.epoch(), 1, 1);
    let refused = world.acquire(&more).await.unwrap_err();
    assert_eq!(
        reason(&refused),
        "INSUFFICIENT_BALANCE",
        "nothing is lent any more"
    );
    let order = world.create_order(account, &world.order_request(100)).await;
    assert_eq!(reason(&order.unwrap_err()), "TERMINATION_STATE");
    world.close(&lease, 1, usage.amount_nanos).await.unwrap();
    let left = world.balance(account).await.0;
    assert_eq!(world.app().end_contracts().await.unwrap(), 1);
    assert_eq!(world.app().end_contracts().await.unwrap(), 0);
    let ended = read(&world, &it).await;
    assert_eq!(ended.state(), TerminationState::Ended);
    assert_eq!(ended.compensations.len(), 1, "the first order is used up");
    let back = &ended.compensations[0];
    assert_eq!(back.order_id, orders[1]);
    assert_eq!(nanos(back.unspent.clone()), left);
    // To whole fen for the customer's good.
    assert_eq!(
        nanos(back.amount.clone()),
        (left + 9_999_999) / 10_000_000 * 10_000_000
    );
    assert!(nanos(back.amount.clone()) <= nanos(back.paid.clone()));
    world.later(Duration::minutes(1)).await;
    let request = world.by_operator(world.ids.id(), ListRefundsRequest::default());
    let refunds = world
        .api
        .list_refunds(request)
        .await
        .unwrap()
        .into_inner()
        .refunds;
    assert_eq!(refunds.len(), 1);
    assert_eq!(
        (refunds[0].state(), refunds[0].reason()),
        (RefundState::Succeeded, RefundReason::Termination)
    );
    assert_eq!(
        (
            world.balance(account).await,
            world.refund_due(account).await
        ),
        ((0, 0), 0)
    );
    world.assert_sound().await;
}

#[sqlx::test]
async fn what_was_given_back_before_is_not_given_back_again(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = world.order(account, 1000).await;
    assert_eq!(world.notify(world.wechat.pay(&number)).await, 204);
    sqlx::query(
        "insert into refunds (refund_id, order_id, provider, provider_transaction_id, amount_fen, reason,
             state, case_id, evidence_sha256, requested_by, requested_at, query_after)
         select gen_random_uuid(), order_id, provider, provider_transaction_id, 400, 'minor', 'requested',
                'C', decode(repeat('00', 32), 'hex'), gen_random_uuid(), now(), now() from payments",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let it = noticed(&world, account).await;
    world.clock.advance(earliest() - world.clock.now());
    for _ in 0..2 {
        world.app().end_contracts().await.unwrap();
    }
    let ended = read(&world, &it).await;
    assert_eq!(ended.compensations.len(), 1);
    let back = &ended.compensations[0];
    assert_eq!(back.order_id, order.order_id);
    assert_eq!(
        (nanos(back.refunded.clone()), nanos(back.amount.clone())),
        (4 * YUAN, 6 * YUAN)
    );
    world.assert_sound().await;
}
