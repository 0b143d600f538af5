use std::collections::HashMap;

use chrono::Duration;
use futures::StreamExt;
use prost_types::Timestamp;
use sqlx::PgPool;
use tonic::{Code, Status};
use wanwu_clock::Clock;
use wanwu_ids::{AccountId, OperatorId};
use wanwu_proto::billing::v1::{
    AmountOnDay, ApproveRefundRequest, ExportMoneyRequest, FoundMoney, ListMoneyAccessesRequest,
    Order, RefundReason, RequestRefundRequest, SearchMoneyRequest, SpentOn, TraceMoneyRequest,
    TraceMoneyResponse, money_service_server::MoneyService, refund_service_server::RefundService,
    search_money_request::By, spent_on::Cause,
};

use crate::world::{PRICES, World, YUAN, nanos, reason};

async fn search(world: &World, by: By) -> Result<Vec<FoundMoney>, Status> {
    let request = SearchMoneyRequest { by: Some(by) };
    let request = world.by_operator(world.ids.id(), request);
    Ok(world.api.search_money(request).await?.into_inner().found)
}

async fn trace(world: &World, order_id: &str) -> TraceMoneyResponse {
    let (mut whole, mut page_token) = (TraceMoneyResponse::default(), String::new());
    loop {
        let request = TraceMoneyRequest {
            order_id: order_id.to_owned(),
            page_size: 3,
            page_token,
        };
        let request = world.by_operator(world.ids.id(), request);
        let page = world.api.trace_money(request).await.unwrap().into_inner();
        assert!(page.parts.len() <= 3);
        let parts = std::mem::take(&mut whole.parts);
        whole = page.clone();
        whole.parts = parts;
        whole.parts.extend(page.parts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return whole;
        }
    }
}

async fn top_up(world: &World, account: AccountId, fen: i64) -> (Order, String) {
    let (order, number) = world.order(account, fen).await;
    let transaction = world.wechat.pay(&number);
    let id = transaction["transaction_id"].as_str().unwrap().to_owned();
    assert_eq!(world.notify(transaction).await, 204);
    world.clock.advance(Duration::seconds(1));
    (order, id)
}

/// A call; what it cost.
async fn call(world: &World, account: AccountId, input: i64) -> (String, i64) {
    let cost = input * PRICES.0;
    let lease = world.lease(account, world.epoch(), cost).await;
    let usage = world.usage(&lease, input, 0);
    world.settle(&usage).await.unwrap();
    world.close(&lease, 1, cost).await.unwrap();
    world.clock.advance(Duration::seconds(1));
    (usage.call_id, cost)
}

pub(crate) async fn refund(world: &World, order_id: &str, fen: i64) {
    let operators: (OperatorId, OperatorId) = (world.ids.id(), world.ids.id());
    let wanted = RequestRefundRequest {
        request_id: world.ids.id::<()>().to_string(),
        order_id: order_id.to_owned(),
        amount: World::fen(fen),
        reason: RefundReason::PrepaidNotProvided.into(),
        case_id: "CASE-1".to_owned(),
        evidence_sha256: vec![1; 32],
        service_unusable: false,
    };
    let wanted = world.by_operator(operators.0, wanted);
    let refund = world.api.request_refund(wanted).await.unwrap().into_inner();
    let refund_id = refund.refund.unwrap().refund_id;
    let approve = world.by_operator(operators.1, ApproveRefundRequest { refund_id });
    world.api.approve_refund(approve).await.unwrap();
}

fn cause(part: &SpentOn) -> String {
    match part.cause.clone().unwrap() {
        Cause::CallId(id) | Cause::RefundId(id) | Cause::BankMatchId(id) => id,
    }
}

#[sqlx::test]
async fn money_is_found_by_whatever_somebody_has_in_hand(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, transaction) = top_up(&world, account, 1234).await;
    top_up(&world, world.account(), 4321).await;
    let (call_id, cost) = call(&world, account, 1000).await;
    let number = order.order_id.replace('-', "");
    for (by, kinds) in [
        (By::Id(order.order_id.clone()), vec!["payment", "order"]),
        (By::Id(number), vec!["payment", "order"]),
        (By::Id(call_id.clone()), vec!["call"]),
        (By::Id(account.to_string()), vec![]),
        (
            By::ProviderTransactionId(transaction.clone()),
            vec!["payment"],
        ),
        (
            By::AmountOnDay(AmountOnDay {
                amount: World::fen(1234),
                day: "2026-11-23".to_owned(),
            }),
            vec!["payment"],
        ),
        (
            By::AmountOnDay(AmountOnDay {
                amount: World::fen(1234),
                day: "2026-11-22".to_owned(),
            }),
            vec![],
        ),
    ] {
        let found = search(&world, by.clone()).await.unwrap();
        let told: Vec<_> = found.iter().map(|found| found.kind.as_str()).collect();
        assert_eq!(told, kinds, "{by:?}");
        assert!(
            found
                .iter()
                .all(|found| found.account_id == account.to_string())
        );
    }
    let found = search(&world, By::Id(call_id)).await.unwrap().remove(0);
    assert_eq!(nanos(found.amount), cost);
    for bad in [
        By::Id("x".to_owned()),
        By::ProviderTransactionId("' or 1=1".to_owned()),
        By::AmountOnDay(AmountOnDay::default()),
    ] {
        assert_eq!(
            reason(&search(&world, bad).await.unwrap_err()),
            "INVALID_ARGUMENT"
        );
    }
}

#[sqlx::test]
async fn the_money_of_an_order_is_followed_to_its_calls_to_the_last_unit(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (first, _) = top_up(&world, account, 1).await;
    let (second, _) = top_up(&world, account, 2).await;
    // 0.01 yuan is 10,000,000: four calls of 2,800,000 go over its end.
    let mut calls = Vec::new();
    for _ in 0..5 {
        calls.push(call(&world, account, 4000).await);
    }
    let cost = 4000 * PRICES.0;
    let of_first = trace(&world, &first.order_id).await;
    let told: Vec<_> = of_first
        .parts
        .iter()
        .map(|part| (cause(part), nanos(part.amount.clone())))
        .collect();
    let expected: Vec<_> = [cost, cost, cost, 10_000_000 - 3 * cost]
        .into_iter()
        .zip(&calls)
        .map(|(part, call)| (call.0.clone(), part))
        .collect();
    assert_eq!(told, expected);
    assert_eq!(
        (nanos(of_first.spent), nanos(of_first.left)),
        (10_000_000, 0)
    );
    let of_second = trace(&world, &second.order_id).await;
    assert_eq!(nanos(of_second.credited), 20_000_000);
    assert_eq!(nanos(of_second.spent.clone()), 5 * cost - 10_000_000);
    assert_eq!(nanos(of_second.left), world.balance(account).await.0);
    for part in &of_first.parts {
        assert_eq!(nanos(part.whole.clone()), cost);
        assert!(!part.lease_id.is_empty());
    }
    let unpaid = world.order(account, 1).await.0.order_id;
    let request = TraceMoneyRequest {
        order_id: unpaid,
        ..TraceMoneyRequest::default()
    };
    let request = world.by_operator(world.ids.id(), request);
    let nothing = world.api.trace_money(request).await.unwrap_err();
    assert_eq!(nothing.code(), Code::NotFound);
}

#[sqlx::test]
async fn whatever_happened_the_traces_of_all_orders_are_the_whole_ledger(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let mut orders = Vec::new();
    // A fixed mixture: pays, calls and gives back.
    let mut chance = 7_u64;
    for _ in 0..25 {
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let kind = (chance >> 33) % 5;
        let size = i64::try_from((chance >> 40) % 900).unwrap() + 1;
        let available = world.balance(account).await.0;
        match kind {
            0 | 1 => orders.push((top_up(&world, account, size).await.0, size, 0)),
            2 | 3 if available > size * 10 * PRICES.0 => {
                call(&world, account, size * 10).await;
            }
            _ => {
                if let Some(order) = orders.iter_mut().find(|order| order.1 - order.2 > 0) {
                    let back = (order.1 - order.2).min(size);
                    if available + YUAN > back * 10_000_000 && available > 0 {
                        order.2 += back;
                        let order_id = order.0.order_id.clone();
                        let before = world.balance(account).await.0;
                        if before >= back * 10_000_000 {
                            refund(&world, &order_id, back).await;
                        } else {
                            order.2 -= back;
                        }
                    }
                }
            }
        }
    }
    assert!(orders.len() > 3);
    let (mut left, mut by_cause) = (0, HashMap::<String, (i64, i64)>::new());
    for (order, fen, _) in &orders {
        let trace = trace(&world, &order.order_id).await;
        let parts: i64 = trace
            .parts
            .iter()
            .map(|part| nanos(part.amount.clone()))
            .sum();
        assert_eq!(nanos(trace.credited.clone()), fen * 10_000_000);
        assert_eq!(nanos(trace.spent.clone()), parts);
        assert_eq!(parts + nanos(trace.left.clone()), fen * 10_000_000);
        left += nanos(trace.left);
        for part in &trace.parts {
            let known = by_cause.entry(cause(part)).or_default();
            known.0 += nanos(part.amount.clone());
            known.1 = nanos(part.whole.clone());
        }
    }
    assert_eq!(left, world.balance(account).await.0);
    assert!(
        by_cause.values().all(|(parts, whole)| parts == whole),
        "{by_cause:?}"
    );
    world.assert_sound().await;
}

#[sqlx::test]
async fn an_export_has_every_entry_once_and_sums_to_zero(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let begin = world.clock.now();
    top_up(&world, account, 1000).await;
    for _ in 0..3 {
        call(&world, account, 1000).await;
    }
    top_up(&world, world.account(), 700).await;
    let instant = |at: chrono::DateTime<chrono::Utc>| Timestamp {
        seconds: at.timestamp(),
        nanos: 0,
    };
    let asked = |account_id: String| ExportMoneyRequest {
        begin_time: Some(instant(begin)),
        end_time: Some(instant(world.clock.now() + Duration::days(1))),
        account_id,
    };
    let export = async |request: ExportMoneyRequest| {
        let request = world.by_operator(world.ids.id(), request);
        let pieces = world.api.export_money(request).await.unwrap().into_inner();
        let pieces: Vec<_> = pieces.map(|piece| piece.unwrap().csv).collect().await;
        pieces.concat()
    };
    let all = export(asked(String::new())).await;
    let entries: i64 = sqlx::query_scalar("select count(*) from entries")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(i64::try_from(all.lines().count()).unwrap(), entries + 1);
    let sum: i64 = all
        .lines()
        .skip(1)
        .map(|line| line.rsplit(',').next().unwrap().parse::<i64>().unwrap())
        .sum();
    assert_eq!(sum, 0);
    let mine = export(asked(account.to_string())).await;
    assert!(
        mine.lines()
            .skip(1)
            .all(|line| line.contains(&account.to_string()))
    );
    let mut long = asked(String::new());
    long.end_time = Some(instant(begin + Duration::days(93)));
    let refused = world
        .api
        .export_money(world.by_operator(world.ids.id(), long))
        .await;
    assert_eq!(reason(&refused.err().unwrap()), "INVALID_ARGUMENT");
}

#[sqlx::test]
async fn every_question_is_written_down_before_it_is_answered(pool: PgPool) {
    let world = World::new(pool).await;
    let who: OperatorId = world.ids.id();
    let nobody = world.account().to_string();
    let by = Some(By::Id(nobody.clone()));
    world
        .api
        .search_money(world.by_operator(who, SearchMoneyRequest { by }))
        .await
        .unwrap();
    let request = TraceMoneyRequest {
        order_id: nobody.clone(),
        ..TraceMoneyRequest::default()
    };
    assert!(
        world
            .api
            .trace_money(world.by_operator(who, request))
            .await
            .is_err()
    );
    let request = world.by_operator(world.ids.id(), ListMoneyAccessesRequest::default());
    let seen = world
        .api
        .list_money_accesses(request)
        .await
        .unwrap()
        .into_inner()
        .accesses;
    let told: Vec<_> = seen
        .iter()
        .map(|seen| (seen.action.as_str(), seen.subject.as_str()))
        .collect();
    assert_eq!(
        told,
        [("trace", nobody.as_str()), ("search", nobody.as_str())]
    );
    assert!(seen.iter().all(|seen| seen.operator_id == who.to_string()));
    let change = sqlx::query("delete from money_accesses")
        .execute(&world.pool)
        .await;
    assert!(change.is_err(), "records stay");
}
