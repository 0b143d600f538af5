//! Who owes: top-ups, statements, proofs, refunds and the end of the contract.

use std::sync::Arc;

use billing::{
    auditor::Auditor, domain::checkpoint::CheckpointKeys, statement_desk::StatementDesk,
};
use chrono::Duration;
use prost_types::Timestamp;
use sqlx::PgPool;
use wanwu_clock::Clock;
use wanwu_proto::billing::v1::{
    ApproveRefundRequest, ApproveTerminationRequest, RefundReason, RequestRefundRequest,
    RequestTerminationRequest, SetBalanceAlertRequest, balance_service_server::BalanceService,
    refund_service_server::RefundService, termination_service_server::TerminationService,
};

use super::{at, credit, due, grant, lendable, spend, spent_of, top_up};
use crate::world::{World, YUAN, nanos};

#[sqlx::test]
async fn a_top_up_pays_what_is_owed_first(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    grant(&world, account, 10).await;
    let used = spend(&world, &world.lease(account, world.epoch(), 6 * YUAN).await).await;
    assert_eq!(nanos(credit(&world, account).await.owed), used);
    top_up(&world, account, 400).await;
    assert_eq!(nanos(credit(&world, account).await.owed), used - 4 * YUAN);
    top_up(&world, account, 400).await;
    let paid = credit(&world, account).await;
    assert_eq!((nanos(paid.owed.clone()), due(&paid)), (0, None));
    assert_eq!(world.balance(account).await, (8 * YUAN - used, 0));
    assert_eq!(lendable(&world, account).await, 18 * YUAN - used);
    world.assert_sound().await;
}

#[sqlx::test]
async fn who_owes_is_told_of_a_low_balance_and_gets_a_statement_that_agrees(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(100).await;
    let below = World::fen(50);
    let alert = world.by(account, SetBalanceAlertRequest { below });
    world.api.set_balance_alert(alert).await.unwrap();
    grant(&world, account, 10).await;
    spend(&world, &world.lease(account, world.epoch(), 5 * YUAN).await).await;
    assert_eq!(world.app().tell_low_balances().await.unwrap(), 1);
    assert_eq!(world.app().tell_low_balances().await.unwrap(), 0);
    let keys = CheckpointKeys::new("k1", [("k1", [9; 32])]);
    let clock = Arc::new(world.clock.clone());
    let desk = StatementDesk::new(world.pool.clone(), clock, keys);
    world
        .clock
        .advance(at("2026-11-30T17:00:00Z") - world.clock.now());
    assert_eq!(desk.make_due().await.unwrap(), 1);
    let closing: i64 = sqlx::query_scalar("select closing_nanos from monthly_statements")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(closing, world.balance(account).await.0);
    assert!(closing < 0);
}

#[sqlx::test]
async fn books_with_a_balance_below_zero_are_proved_whole(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, silent) = (world.account(), world.account());
    let first = top_up(&world, account, 1000).await;
    grant(&world, account, 10).await;
    grant(&world, silent, 10).await;
    world.clock.advance(Duration::seconds(1));
    let used = spend(
        &world,
        &world.lease(account, world.epoch(), 12 * YUAN).await,
    )
    .await;
    let keys = CheckpointKeys::new("k1", [("k1", [7; 32])]);
    let auditor = Auditor::new(world.pool.clone(), Arc::new(world.clock.clone()), keys);
    auditor.make_checkpoint().await.unwrap().unwrap();
    let report = auditor.audit().await.unwrap();
    assert_eq!((report.wrong, report.sum), (Vec::new(), 0));

    // The first order is spent whole; the second pays what was used before it came.
    world.clock.advance(Duration::seconds(1));
    let second = top_up(&world, account, 500).await;
    assert_eq!(spent_of(&world, &first).await, 10 * YUAN);
    assert_eq!(spent_of(&world, &second).await, used - 10 * YUAN);
    world.assert_sound().await;
}

#[sqlx::test]
async fn who_owes_gets_a_refund_of_what_was_used_and_an_end_of_the_contract(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let order_id = top_up(&world, account, 1000).await;
    grant(&world, account, 10).await;
    let used = spend(
        &world,
        &world.lease(account, world.epoch(), 12 * YUAN).await,
    )
    .await;
    let wanted = RequestRefundRequest {
        request_id: world.ids.id::<()>().to_string(),
        order_id,
        amount: World::fen(400),
        reason: RefundReason::InfringementDispute.into(),
        case_id: "DISPUTE-2026/17".to_owned(),
        evidence_sha256: vec![7; 32],
        service_unusable: true,
    };
    let wanted = world.by_operator(world.ids.id(), wanted);
    let refund = world.api.request_refund(wanted).await.unwrap().into_inner();
    let refund_id = refund.refund.unwrap().refund_id;
    let approve = world.by_operator(world.ids.id(), ApproveRefundRequest { refund_id });
    world.api.approve_refund(approve).await.unwrap();
    // It is given back of what the calls earned: what is owed does not grow.
    assert_eq!(world.refund_due(account).await, 4 * YUAN);
    assert_eq!(world.balance(account).await, (10 * YUAN - used, 0));

    let ends_at = at("2026-12-23T16:00:00Z");
    let wanted = RequestTerminationRequest {
        request_id: world.ids.id::<()>().to_string(),
        account_id: account.to_string(),
        end_time: Some(Timestamp {
            seconds: ends_at.timestamp(),
            nanos: 0,
        }),
        case_id: "CASE-7".to_owned(),
    };
    let wanted = world.by_operator(world.ids.id(), wanted);
    let asked = world.api.request_termination(wanted).await.unwrap();
    let termination_id = asked.into_inner().termination.unwrap().termination_id;
    let approve = ApproveTerminationRequest { termination_id };
    let approve = world.by_operator(world.ids.id(), approve);
    world.api.approve_termination(approve).await.unwrap();
    world.clock.advance(ends_at - world.clock.now());
    assert_eq!(world.app().end_contracts().await.unwrap(), 0);
    assert_eq!(lendable(&world, account).await, 0);
    assert_eq!(world.app().end_contracts().await.unwrap(), 1);
    assert_eq!(world.balance(account).await, (10 * YUAN - used, 0));
    assert_eq!(nanos(credit(&world, account).await.owed), used - 10 * YUAN);
    world.assert_sound().await;
}
