//! Enterprises go on beyond zero, down to exactly what their contract says, and pay later.

mod owing;
mod spending;
mod two_people;

use chrono::{DateTime, Duration, Utc};
use prost_types::Timestamp;
use tonic::Status;
use wanwu_clock::Clock;
use wanwu_ids::{AccountId, OperatorId};
use wanwu_proto::billing::v1::{
    ApproveCreditLimitRequest, Credit, CreditLimit, CreditLimitRequest, GetBalanceRequest,
    GetCreditRequest, Lease, ListCreditLimitsRequest, LowerCreditLimitRequest,
    RequestCreditLimitRequest, TraceMoneyRequest, balance_service_server::BalanceService,
    credit_limit_service_server::CreditLimitService, money_service_server::MoneyService,
};

use crate::world::{PRICES, World, YUAN, nanos};

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
