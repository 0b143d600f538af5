//! Enterprises go on beyond zero, down to exactly what their contract says, and pay later.

use std::sync::Arc;

use billing::{
    auditor::Auditor, domain::checkpoint::CheckpointKeys, statement_desk::StatementDesk,
};
use chrono::{DateTime, Duration, Utc};
use futures::future::join_all;
use prost_types::Timestamp;
use sqlx::PgPool;
use tonic::{Code, Status};
use wanwu_clock::Clock;
use wanwu_ids::{AccountId, OperatorId};
use wanwu_proto::billing::v1::{
    ApproveCreditLimitRequest, ApproveRefundRequest, ApproveTerminationRequest, Credit,
    CreditLimit, CreditLimitRequest, CreditLimitRequestState, GetBalanceRequest, GetCreditRequest,
    Lease, ListCreditLimitRequestsRequest, ListCreditLimitsRequest, LowerCreditLimitRequest,
    RefundReason, RequestCreditLimitRequest, RequestRefundRequest, RequestTerminationRequest,
    SetBalanceAlertRequest, TraceMoneyRequest, WithdrawCreditLimitRequest,
    balance_service_server::BalanceService, credit_limit_service_server::CreditLimitService,
    money_service_server::MoneyService, refund_service_server::RefundService,
    termination_service_server::TerminationService,
};

use crate::world::{PRICES, World, YUAN, nanos, reason};

const ENTERPRISE: &str = "91110000600037341L";

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn wanted(world: &World, account: AccountId, yuan: i64) -> RequestCreditLimitRequest {
    let end = world.clock.now() + Duration::days(365);
    RequestCreditLimitRequest {
        request_id: world.ids.id::<()>().to_string(),
        account_id: account.to_string(),
        limit: World::fen(yuan * 100),
        contract: "HT-2026/17".to_owned(),
        uscc: ENTERPRISE.to_owned(),
        end_time: Some(Timestamp {
            seconds: end.timestamp(),
            nanos: 0,
        }),
    }
}

async fn request(
    world: &World,
    by: OperatorId,
    wanted: RequestCreditLimitRequest,
) -> Result<CreditLimitRequest, Status> {
    let request = world.by_operator(by, wanted);
    let answer = world.api.request_credit_limit(request).await?;
    Ok(answer.into_inner().credit_limit_request.unwrap())
}

async fn approve(
    world: &World,
    by: OperatorId,
    it: &CreditLimitRequest,
) -> Result<CreditLimitRequest, Status> {
    let credit_limit_request_id = it.credit_limit_request_id.clone();
    let request = world.by_operator(
        by,
        ApproveCreditLimitRequest {
            credit_limit_request_id,
        },
    );
    let answer = world.api.approve_credit_limit(request).await?;
    Ok(answer.into_inner().credit_limit_request.unwrap())
}

/// Two operators give the account a limit.
pub(crate) async fn grant(world: &World, account: AccountId, yuan: i64) -> CreditLimitRequest {
    let operators: (OperatorId, OperatorId) = (world.ids.id(), world.ids.id());
    let it = request(world, operators.0, wanted(world, account, yuan)).await;
    approve(world, operators.1, &it.unwrap()).await.unwrap()
}

async fn lower(world: &World, account: AccountId, yuan: i64) -> Result<Credit, Status> {
    let request = LowerCreditLimitRequest {
        account_id: account.to_string(),
        limit: World::fen(yuan * 100),
    };
    let request = world.by_operator(world.ids.id(), request);
    let answer = world.api.lower_credit_limit(request).await?;
    Ok(answer.into_inner().credit.unwrap())
}

/// What the account itself is shown.
async fn shown(world: &World, account: AccountId) -> Option<Credit> {
    let request = world.by(account, GetBalanceRequest {});
    let answer = world.api.get_balance(request).await.unwrap();
    answer.into_inner().credit
}

pub(crate) async fn credit(world: &World, account: AccountId) -> Credit {
    let account_id = account.to_string();
    let request = world.by_operator(world.ids.id(), GetCreditRequest { account_id });
    let answer = world.api.get_credit(request).await.unwrap();
    answer.into_inner().credit.unwrap()
}

async fn limits(world: &World, account: AccountId) -> Vec<CreditLimit> {
    let request = ListCreditLimitsRequest {
        account_id: account.to_string(),
        ..ListCreditLimitsRequest::default()
    };
    let request = world.by_operator(world.ids.id(), request);
    let answer = world.api.list_credit_limits(request).await.unwrap();
    answer.into_inner().credit_limits
}

pub(crate) fn due(credit: &Credit) -> Option<DateTime<Utc>> {
    let time = credit.due_time.as_ref()?;
    DateTime::from_timestamp(time.seconds, 0)
}

/// What can be lent at once: a lease of it, given back.
pub(crate) async fn lendable(world: &World, account: AccountId) -> i64 {
    let request = world.lease_request(account, world.epoch(), 1, 1_000_000 * YUAN);
    let Ok(lease) = world.acquire(&request).await else {
        return 0;
    };
    assert!(world.close(&lease, 0, 0).await.unwrap());
    lease.amount_nanos
}

/// Calls that cost all of a lease but what is less than a token.
pub(crate) async fn spend(world: &World, lease: &Lease) -> i64 {
    let usage = world.usage(lease, lease.amount_nanos / PRICES.0, 0);
    world.settle(&usage).await.unwrap();
    assert!(world.close(lease, 1, usage.amount_nanos).await.unwrap());
    usage.amount_nanos
}

/// The order that paid.
pub(crate) async fn top_up(world: &World, account: AccountId, fen: i64) -> String {
    let (order, number) = world.order(account, fen).await;
    assert_eq!(world.notify(world.wechat.pay(&number)).await, 204);
    order.order_id
}

/// What of an order's money is spent.
async fn spent_of(world: &World, order_id: &str) -> i64 {
    let request = TraceMoneyRequest {
        order_id: order_id.to_owned(),
        ..TraceMoneyRequest::default()
    };
    let request = world.by_operator(world.ids.id(), request);
    let trace = world.api.trace_money(request).await.unwrap();
    nanos(trace.into_inner().spent)
}

#[sqlx::test]
async fn an_enterprise_calls_on_beyond_zero_down_to_exactly_its_limit(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    assert_eq!(shown(&world, account).await, None);
    grant(&world, account, 50).await;
    // 10 yuan are paid and 50 may be owed: 50 leases of 2 yuan at once, of which 30 are there.
    let epoch = world.epoch();
    let requests: Vec<_> = (0..50)
        .map(|_| world.lease_request(account, epoch, 2 * YUAN, 2 * YUAN))
        .collect();
    let answers = join_all(requests.iter().map(|request| world.acquire(request))).await;
    let lent: Vec<Lease> = answers.into_iter().flatten().collect();
    assert_eq!(lent.len(), 30);
    assert_eq!(world.balance(account).await, (-50 * YUAN, 60 * YUAN));
    let more = world.lease_request(account, epoch, 1, 1);
    let refused = world.acquire(&more).await.unwrap_err();
    assert_eq!(reason(&refused), "INSUFFICIENT_BALANCE");
    world.assert_sound().await;

    // What is lent is not owed; what is used beyond what was paid is.
    let credit = shown(&world, account).await.unwrap();
    assert_eq!(nanos(credit.limit.clone()), 50 * YUAN);
    assert_eq!((nanos(credit.owed.clone()), due(&credit)), (0, None));
    let mut used = 0;
    for lease in &lent {
        used += spend(&world, lease).await;
    }
    let credit = shown(&world, account).await.unwrap();
    assert_eq!(nanos(credit.owed.clone()), used - 10 * YUAN);
    assert_eq!(due(&credit), Some(at("2026-12-20T16:00:00Z")));
    assert_eq!(nanos(credit.overdue), 0);
    let (available, leased) = world.balance(account).await;
    assert_eq!((available, leased), (10 * YUAN - used, 0));
    assert_eq!(lendable(&world, account).await, 60 * YUAN - used);
    world.assert_sound().await;
    world.app().measure().await.unwrap();
}

#[sqlx::test]
async fn the_database_lets_no_balance_fall_below_minus_its_limit(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    grant(&world, account, 5).await;
    let change = |by: i64| {
        sqlx::query(
            "update ledger_accounts set balance_nanos = balance_nanos + $1 where kind = 'available'",
        )
        .bind(by)
        .execute(&world.pool)
    };
    let refused = change(-15 * YUAN - 1).await.unwrap_err();
    let name = "ledger_accounts_balance_nanos_check";
    assert!(wanwu_postgres::violates(&refused, name));
    change(-15 * YUAN).await.unwrap();
    lower(&world, account, 1).await.unwrap();
    let refused = change(-1).await.unwrap_err();
    assert!(wanwu_postgres::violates(&refused, name));
    change(1).await.unwrap();
    // Nobody writes a limit past the list of limits, and that one wants two people.
    let past = sqlx::query(
        "update ledger_accounts set credit_nanos = 9, credit_ends_at = now() where kind = 'available'",
    );
    let refused = past.execute(&world.pool).await.unwrap_err();
    let name = "ledger_accounts_credit_in_force_check";
    assert!(wanwu_postgres::violates(&refused, name));
    for (limit, ends) in [(2 * YUAN, "365 days"), (YUAN, "2000 days")] {
        let alone = sqlx::query(
            "insert into credit_limits (account_id, limit_nanos, ends_at, set_at, set_by)
             values ($1, $2, now() + $3::interval, now(), gen_random_uuid())",
        );
        let alone = alone.bind(account).bind(limit).bind(ends);
        let refused = alone.execute(&world.pool).await.unwrap_err();
        let name = "credit_limits_two_operators_check";
        assert!(wanwu_postgres::violates(&refused, name), "{limit} {ends}");
    }
    for statement in [
        "update credit_limits set limit_nanos = 9",
        "delete from credit_limits",
        "update credit_limit_requests set limit_nanos = 9",
        "update credit_limit_requests set state = 'requested'",
        "delete from credit_limit_requests",
    ] {
        let refused = sqlx::query(statement).execute(&world.pool).await;
        let error = refused.unwrap_err().into_database_error().unwrap();
        assert_eq!(error.code().as_deref(), Some("23001"), "{statement}");
    }
}

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
async fn a_limit_below_what_is_owed_stops_new_leases_and_breaks_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    grant(&world, account, 10).await;
    let epoch = world.epoch();
    let used = spend(&world, &world.lease(account, epoch, 6 * YUAN).await).await;
    let running = world.lease(account, epoch, 2 * YUAN).await;
    let credit = lower(&world, account, 3).await.unwrap();
    assert_eq!(nanos(credit.limit), 3 * YUAN);
    assert_eq!(lendable(&world, account).await, 0);
    // What was lent before is used, given back and settled as ever.
    world.reduce(&running, YUAN).await.unwrap();
    let running = Lease {
        amount_nanos: YUAN,
        ..running
    };
    let used = used + spend(&world, &running).await;
    assert_eq!(world.balance(account).await, (-used, 0));
    // A payment that leaves it below the limit is taken.
    top_up(&world, account, 100).await;
    assert_eq!(world.balance(account).await, (YUAN - used, 0));
    assert_eq!(lendable(&world, account).await, 0);
    top_up(&world, account, 600).await;
    assert_eq!(lendable(&world, account).await, 10 * YUAN - used);
    // The same again changes nothing; 0 ends it.
    lower(&world, account, 3).await.unwrap();
    let ended = lower(&world, account, 0).await.unwrap();
    assert_eq!((nanos(ended.limit), ended.limit_end_time), (0, None));
    assert_eq!(lendable(&world, account).await, 7 * YUAN - used);
    let known: Vec<_> = limits(&world, account).await;
    let known: Vec<_> = known
        .iter()
        .map(|limit| {
            (
                nanos(limit.limit.clone()) / YUAN,
                limit.credit_limit_request_id.is_empty(),
            )
        })
        .collect();
    assert_eq!(known, [(0, true), (3, true), (10, false)]);
    world.assert_sound().await;
}

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
async fn the_version_before_books_on_beside_a_limit(pool: PgPool) {
    let world = World::new(pool).await;
    let (enterprise, person) = (world.account(), world.account());
    grant(&world, enterprise, 10).await;
    spend(
        &world,
        &world.lease(enterprise, world.epoch(), 5 * YUAN).await,
    )
    .await;
    // As it opens an account or adds to it, and as it adds to accounts that are there.
    let open = |account: AccountId, by: i64| {
        sqlx::query(
            "insert into ledger_accounts as a (kind, account_id, balance_nanos)
             values ('available', $1, $2)
             on conflict on constraint ledger_accounts_kind_account_id_key
             do update set balance_nanos = a.balance_nanos + $2",
        )
        .bind(account)
        .bind(by)
        .execute(&world.pool)
    };
    let add = |account: AccountId, by: i64| {
        sqlx::query(
            "update ledger_accounts set balance_nanos = balance_nanos + $2
             where kind = 'available' and account_id = $1",
        )
        .bind(account)
        .bind(by)
        .execute(&world.pool)
    };
    let name = "ledger_accounts_balance_nanos_check";
    let refused = open(person, -1).await.unwrap_err();
    assert!(wanwu_postgres::violates(&refused, name));
    open(person, 5).await.unwrap();
    let refused = add(person, -6).await.unwrap_err();
    assert!(wanwu_postgres::violates(&refused, name));
    add(person, -5).await.unwrap();
    // What an enterprise pays while it is still below zero is taken, by both ways.
    for money in [open(enterprise, YUAN).await, add(enterprise, YUAN).await] {
        money.unwrap();
    }
    assert!(world.balance(enterprise).await.0 < -2 * YUAN);
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
