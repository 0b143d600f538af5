//! Who gets a limit, and that it takes two people.

use chrono::Duration;
use prost_types::Timestamp;
use sqlx::PgPool;
use tonic::Code;
use wanwu_clock::Clock;
use wanwu_ids::OperatorId;
use wanwu_proto::billing::v1::{
    CreditLimitRequest, CreditLimitRequestState, ListCreditLimitRequestsRequest,
    RequestCreditLimitRequest, WithdrawCreditLimitRequest,
    credit_limit_service_server::CreditLimitService,
};

use super::{
    approve, credit, grant, lendable, limits, lower, request, shown, spend, top_up, wanted,
};
use crate::world::{World, YUAN, nanos, reason};

#[sqlx::test]
async fn only_an_enterprise_with_a_contract_can_have_a_limit(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let operator: OperatorId = world.ids.id();
    let good = wanted(&world, account, 5);
    let too_long = world.clock.now() + Duration::days(4 * 366);
    for wrong in [
        // A person has no code, one person's business a code of its own kind.
        RequestCreditLimitRequest {
            uscc: String::new(),
            ..good.clone()
        },
        RequestCreditLimitRequest {
            uscc: "92110000600037341H".to_owned(),
            ..good.clone()
        },
        RequestCreditLimitRequest {
            uscc: "91110000600037341M".to_owned(),
            ..good.clone()
        },
        RequestCreditLimitRequest {
            contract: String::new(),
            ..good.clone()
        },
        RequestCreditLimitRequest {
            limit: World::fen(0),
            ..good.clone()
        },
        RequestCreditLimitRequest {
            end_time: Some(Timestamp {
                seconds: world.clock.now().timestamp(),
                nanos: 0,
            }),
            ..good.clone()
        },
        RequestCreditLimitRequest {
            end_time: Some(Timestamp {
                seconds: too_long.timestamp(),
                nanos: 0,
            }),
            ..good.clone()
        },
    ] {
        let refused = request(&world, operator, wrong.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{wrong:?}");
    }
    assert_eq!(lendable(&world, account).await, 10 * YUAN);
    assert_eq!(shown(&world, account).await, None);
    assert_eq!(nanos(credit(&world, account).await.limit), 0);
}

#[sqlx::test]
async fn one_operator_alone_raises_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (first, second): (OperatorId, OperatorId) = (world.ids.id(), world.ids.id());
    let good = wanted(&world, account, 5);
    let it = request(&world, first, good.clone()).await.unwrap();
    assert_eq!(request(&world, first, good).await.unwrap(), it);
    let another = request(&world, second, wanted(&world, account, 6)).await;
    assert_eq!(reason(&another.unwrap_err()), "CREDIT_LIMIT_STATE");
    let alone = approve(&world, first, &it).await.unwrap_err();
    assert_eq!(reason(&alone), "SAME_OPERATOR");
    assert_eq!(lendable(&world, account).await, 0);

    let approved = approve(&world, second, &it).await.unwrap();
    assert_eq!(approved.state(), CreditLimitRequestState::Approved);
    assert_eq!(approved.decided_by, second.to_string());
    assert_eq!(lendable(&world, account).await, 5 * YUAN);
    let again = approve(&world, second, &it).await.unwrap_err();
    assert_eq!(reason(&again), "CREDIT_LIMIT_STATE");
    let higher = lower(&world, account, 6).await.unwrap_err();
    assert_eq!(reason(&higher), "CREDIT_LIMIT_NOT_LOWER");

    world.clock.advance(Duration::seconds(1));
    let withdrawn = request(&world, first, wanted(&world, account, 7)).await;
    let withdrawn = withdrawn.unwrap();
    let credit_limit_request_id = withdrawn.credit_limit_request_id.clone();
    let withdraw = world.by_operator(
        first,
        WithdrawCreditLimitRequest {
            credit_limit_request_id,
        },
    );
    world.api.withdraw_credit_limit(withdraw).await.unwrap();
    let late = approve(&world, second, &withdrawn).await.unwrap_err();
    assert_eq!(reason(&late), "CREDIT_LIMIT_STATE");
    // Who comes after the end of what was asked for is too late.
    world.clock.advance(Duration::seconds(1));
    let late = request(&world, first, wanted(&world, account, 8)).await;
    world.clock.advance(Duration::days(366));
    let late = approve(&world, second, &late.unwrap()).await.unwrap_err();
    assert_eq!(reason(&late), "CREDIT_LIMIT_STATE");

    let request = ListCreditLimitRequestsRequest {
        page_size: 2,
        ..ListCreditLimitRequestsRequest::default()
    };
    let listed = world.by_operator(first, request);
    let listed = world.api.list_credit_limit_requests(listed).await.unwrap();
    let listed = listed.into_inner();
    let states: Vec<_> = listed
        .credit_limit_requests
        .iter()
        .map(CreditLimitRequest::state)
        .collect();
    let expected = [
        CreditLimitRequestState::Requested,
        CreditLimitRequestState::Withdrawn,
    ];
    assert_eq!(states, expected);
    assert!(!listed.next_page_token.is_empty());
}

#[sqlx::test]
async fn a_limit_ends_by_itself_and_a_longer_one_takes_two_people(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    grant(&world, account, 10).await;
    let used = spend(&world, &world.lease(account, world.epoch(), 2 * YUAN).await).await;
    world.clock.advance(Duration::days(364));
    assert_eq!(world.app().end_credit_limits().await.unwrap(), 0);
    world.clock.advance(Duration::days(1));
    // The service refuses from that instant on, the database as soon as the end is written down.
    assert_eq!(lendable(&world, account).await, 0);
    assert_eq!(world.app().end_credit_limits().await.unwrap(), 1);
    assert_eq!(world.app().end_credit_limits().await.unwrap(), 0);
    let newest = limits(&world, account).await.remove(0);
    assert_eq!((nanos(newest.limit), newest.set_by.as_str()), (0, ""));
    top_up(&world, account, 300).await;
    grant(&world, account, 10).await;
    assert_eq!(lendable(&world, account).await, 13 * YUAN - used);
}
