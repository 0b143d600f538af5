use sqlx::PgPool;
use tonic::Code;
use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::{
    GetCallBillRequest, ListStatementLinesRequest, StatementLine,
    balance_service_server::BalanceService, statement_line::Cause,
};

use crate::world::{PRICES, World, YUAN, nanos};

async fn statement(world: &World, account: AccountId, page_size: i32) -> Vec<StatementLine> {
    let (mut lines, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListStatementLinesRequest {
            page_size,
            page_token,
        };
        let page = world.api.list_statement_lines(world.by(account, request));
        let page = page.await.unwrap().into_inner();
        lines.extend(page.lines);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return lines;
        }
    }
}

#[sqlx::test]
async fn a_statement_lists_top_ups_and_calls_to_the_last_unit(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let lease = world.lease(account, world.epoch(), YUAN).await;
    let mut calls = Vec::new();
    for n in 1..=4 {
        // Two of them at the same instant.
        world.clock.advance(chrono::Duration::seconds(n % 2));
        let usage = world.usage(&lease, n, 10 * n);
        world.settle(&usage).await.unwrap();
        calls.push(usage);
    }
    world.clock.advance(chrono::Duration::seconds(1));
    let (order, number) = world.order(account, 1).await;
    world.notify(world.wechat.pay(&number)).await;

    let lines = statement(&world, account, 100).await;
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[0].cause, Some(Cause::OrderId(order.order_id)));
    assert_eq!(nanos(lines[0].amount.clone()), YUAN / 100);
    assert_eq!(nanos(lines[5].amount.clone()), 10 * YUAN);
    let sum: i64 = lines.iter().map(|line| nanos(line.amount.clone())).sum();
    let (available, leased) = world.balance(account).await;
    assert_eq!(sum, available + leased, "the lines are the balance");
    for (older, newer) in lines.iter().skip(1).zip(&lines) {
        let at = |line: &StatementLine| line.book_time.unwrap().seconds;
        assert!(at(older) <= at(newer));
    }
    for size in [1, 2, 5] {
        assert_eq!(
            statement(&world, account, size).await,
            lines,
            "pages of {size}"
        );
    }
    assert_eq!(statement(&world, world.account(), 20).await, []);
    let charged = lines.iter().filter_map(|line| match &line.cause {
        Some(Cause::Call(call)) => Some((call.call_id.clone(), nanos(call.amount.clone()))),
        _ => None,
    });
    let mut charged: Vec<_> = charged.collect();
    let mut expected: Vec<_> = calls
        .into_iter()
        .map(|usage| (usage.call_id, usage.amount_nanos))
        .collect();
    charged.sort();
    expected.sort();
    assert_eq!(charged, expected);
}

#[sqlx::test]
async fn the_bill_of_a_call_is_its_owners(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let lease = world.lease(account, world.epoch(), YUAN).await;
    let usage = world.usage(&lease, 3, 4);
    let ask = |who, call_id: &str| {
        let call_id = call_id.to_owned();
        let request = world.by(who, GetCallBillRequest { call_id });
        world.api.get_call_bill(request)
    };
    let before = ask(account, &usage.call_id).await.unwrap_err();
    assert_eq!(before.code(), Code::NotFound, "not settled yet");
    world.settle(&usage).await.unwrap();
    let bill = ask(account, &usage.call_id).await.unwrap().into_inner();
    let bill = bill.bill.unwrap();
    assert_eq!(nanos(bill.amount), 3 * PRICES.0 + 4 * PRICES.1);
    assert_eq!((bill.input_tokens, bill.output_tokens), (3, 4));
    assert_eq!(
        (bill.price_version, bill.usage_source.as_str()),
        (1, "engine")
    );
    assert_eq!((bill.app_id, bill.key_id), (usage.app_id, usage.key_id));
    let stranger = ask(world.account(), &usage.call_id).await.unwrap_err();
    assert_eq!(stranger.code(), Code::NotFound);
    let nonsense = ask(account, "1").await.unwrap_err();
    assert_eq!(nonsense.code(), Code::InvalidArgument);
}

#[sqlx::test]
async fn pages_that_cannot_be_are_refused(pool: PgPool) {
    let world = World::new(pool).await;
    for (page_size, page_token) in [(-1, ""), (1, "x"), (1, "WzEsMl0")] {
        let request = ListStatementLinesRequest {
            page_size,
            page_token: page_token.to_owned(),
        };
        let refused = world
            .api
            .list_statement_lines(world.by(world.account(), request));
        assert_eq!(refused.await.unwrap_err().code(), Code::InvalidArgument);
    }
}
