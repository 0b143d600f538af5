//! What an app or a key may cost, whoever spends it.

use std::sync::Arc;

use chrono::Duration;
use futures::{StreamExt, future::join_all};
use sqlx::PgPool;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use wanwu_ids::{AccountId, AppId, KeyId};
use wanwu_proto::billing::v1::{
    Budget, BudgetPeriod, Lease, ListBudgetsRequest, SetBudgetRequest, WatchRecallsRequest,
    budget_service_server::BudgetService, lease_service_server::LeaseService, set_budget_request,
};
use wanwu_proto::google::r#type::Money;

use crate::world::{PRICES, World, YUAN, nanos, reason};

/// What a call of ten tokens of prompt and twenty of answer costs.
const COST: i64 = 10 * PRICES.0 + 20 * PRICES.1;

pub fn money(nanos: i64) -> Money {
    Money {
        currency_code: "CNY".to_owned(),
        units: nanos / YUAN,
        nanos: i32::try_from(nanos % YUAN).unwrap(),
    }
}

fn of_key(key: KeyId) -> set_budget_request::Subject {
    set_budget_request::Subject::KeyId(key.to_string())
}

fn of_app(app: AppId) -> set_budget_request::Subject {
    set_budget_request::Subject::AppId(app.to_string())
}

async fn set(
    world: &World,
    account: AccountId,
    subject: set_budget_request::Subject,
    amount: Option<i64>,
    period: BudgetPeriod,
) -> Result<Option<Budget>, Status> {
    let request = SetBudgetRequest {
        subject: Some(subject),
        amount: amount.map(money),
        period: period.into(),
    };
    let answer = world.api.set_budget(world.by(account, request)).await?;
    Ok(answer.into_inner().budget)
}

async fn list(world: &World, account: AccountId) -> Vec<Budget> {
    let request = world.by(account, ListBudgetsRequest {});
    let answer = world.api.list_budgets(request).await.unwrap();
    answer.into_inner().budgets
}

/// Spent and leased of the only budget.
async fn used(world: &World, account: AccountId) -> (i64, i64) {
    let budget = list(world, account).await.pop().unwrap();
    (nanos(budget.spent), nanos(budget.leased))
}

struct Caller {
    account: AccountId,
    app: AppId,
    key: KeyId,
}

async fn caller(world: &World) -> Caller {
    Caller {
        account: world.customer(1000).await,
        app: world.ids.id(),
        key: world.ids.id(),
    }
}

impl Caller {
    async fn lease(&self, world: &World, min: i64, want: i64) -> Result<Lease, Status> {
        let calls = (self.app, self.key);
        let request = world.lease_request_of(self.account, world.epoch(), calls, (min, want));
        world.acquire(&request).await
    }

    /// Settles one call on a lease.
    async fn call(&self, world: &World, lease: &Lease) {
        let mut usage = world.usage(lease, 10, 20);
        usage.app_id = self.app.to_string();
        usage.key_id = self.key.to_string();
        world.settle(&usage).await.unwrap();
    }
}

#[sqlx::test]
async fn what_is_settled_and_what_is_lent_never_exceed_a_budget(pool: PgPool) {
    let world = World::new(pool).await;
    let caller = caller(&world).await;
    let budget = 25 * COST + COST / 2;
    let month = BudgetPeriod::Month;
    set(
        &world,
        caller.account,
        of_key(caller.key),
        Some(budget),
        month,
    )
    .await
    .unwrap();
    // Eight purses that know nothing of each other: each borrows, spends a part, gives back.
    let (world, caller) = (&world, &caller);
    let purses = (0..8).map(|purse: i64| async move {
        let mut made = 0;
        for step in 0..12 {
            let want = COST * (1 + (purse + step) % 4);
            let Ok(lease) = caller.lease(world, COST, want).await else {
                continue;
            };
            assert_eq!(lease.key_id, caller.key.to_string());
            let calls = purse * step % (lease.amount_nanos / COST + 1);
            for _ in 0..calls {
                caller.call(world, &lease).await;
                let (spent, leased) = used(world, caller.account).await;
                assert!(spent + leased <= budget, "{spent} + {leased} > {budget}");
            }
            assert!(world.close(&lease, calls, calls * COST).await.unwrap());
            made += calls;
        }
        made
    });
    let made: i64 = join_all(purses).await.into_iter().sum();
    let mut more = 0;
    while let Ok(lease) = caller.lease(world, COST, COST).await {
        caller.call(world, &lease).await;
        assert!(world.close(&lease, 1, COST).await.unwrap());
        more += 1;
    }
    assert_eq!(made + more, 25, "every call that fits, and none more");
    assert_eq!(used(world, caller.account).await, (25 * COST, 0));
    let refused = caller.lease(world, COST, COST).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let info = refused.get_details_error_info().unwrap();
    assert_eq!(info.reason, "BUDGET_EXHAUSTED");
    assert_eq!(info.metadata["subject"], "key");
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_call_is_within_the_budgets_of_its_app_and_of_its_key(pool: PgPool) {
    let world = World::new(pool).await;
    let caller = caller(&world).await;
    let month = BudgetPeriod::Month;
    set(
        &world,
        caller.account,
        of_app(caller.app),
        Some(3 * COST),
        month,
    )
    .await
    .unwrap();
    set(
        &world,
        caller.account,
        of_key(caller.key),
        Some(2 * COST),
        month,
    )
    .await
    .unwrap();
    let lease = caller.lease(&world, COST, 10 * COST).await.unwrap();
    assert_eq!(lease.amount_nanos, 2 * COST, "the narrower one");
    assert_eq!(
        (&lease.app_id, &lease.key_id),
        (&caller.app.to_string(), &caller.key.to_string())
    );
    // Another key of the app has what the app's budget leaves.
    let other = Caller {
        key: world.ids.id(),
        ..caller
    };
    let lease = other.lease(&world, COST, 10 * COST).await.unwrap();
    assert_eq!((lease.amount_nanos, lease.key_id.as_str()), (COST, ""));
    let refused = other.lease(&world, COST, COST).await.unwrap_err();
    assert_eq!(
        refused.get_details_error_info().unwrap().metadata["subject"],
        "app"
    );
    // Another app of the account is not bound.
    let free = Caller {
        app: world.ids.id(),
        ..other
    };
    let lease = free.lease(&world, COST, 10 * COST).await.unwrap();
    assert_eq!((lease.amount_nanos, lease.app_id.as_str()), (10 * COST, ""));
}

#[sqlx::test]
async fn a_monthly_budget_begins_anew_and_one_for_ever_does_not(pool: PgPool) {
    let world = World::new(pool).await;
    let caller = caller(&world).await;
    // What calls of the month cost before counts.
    let lease = caller.lease(&world, COST, COST).await.unwrap();
    caller.call(&world, &lease).await;
    assert!(world.close(&lease, 1, COST).await.unwrap());
    let month = BudgetPeriod::Month;
    let budget = set(
        &world,
        caller.account,
        of_key(caller.key),
        Some(COST),
        month,
    )
    .await;
    let budget = budget.unwrap().unwrap();
    assert_eq!(nanos(budget.spent), COST);
    assert_eq!(budget.first_day, "2026-11-01");
    let refused = caller.lease(&world, 1, COST).await.unwrap_err();
    assert_eq!(reason(&refused), "BUDGET_EXHAUSTED");
    // 23 November, noon, in Shanghai.
    world.clock.advance(Duration::days(7) + Duration::hours(11));
    let refused = caller.lease(&world, 1, COST).await.unwrap_err();
    assert_eq!(reason(&refused), "BUDGET_EXHAUSTED", "30 November, 23:00");
    world.clock.advance(Duration::hours(1));
    let lease = caller.lease(&world, COST, COST).await.unwrap();
    caller.call(&world, &lease).await;
    assert!(world.close(&lease, 1, COST).await.unwrap());
    let total = BudgetPeriod::Total;
    set(
        &world,
        caller.account,
        of_key(caller.key),
        Some(COST),
        total,
    )
    .await
    .unwrap();
    world.clock.advance(Duration::days(100));
    let refused = caller.lease(&world, 1, COST).await.unwrap_err();
    assert_eq!(reason(&refused), "BUDGET_EXHAUSTED");
    assert_eq!(
        list(&world, caller.account).await[0].first_day,
        "2026-11-23"
    );
    // More of it, and none of it any more.
    set(
        &world,
        caller.account,
        of_key(caller.key),
        Some(3 * COST),
        total,
    )
    .await
    .unwrap();
    let lease = caller.lease(&world, COST, 9 * COST).await.unwrap();
    assert_eq!(lease.amount_nanos, COST);
    set(&world, caller.account, of_key(caller.key), None, total)
        .await
        .unwrap();
    assert_eq!(list(&world, caller.account).await, []);
    let lease = caller.lease(&world, COST, 9 * COST).await.unwrap();
    assert_eq!((lease.amount_nanos, lease.key_id.as_str()), (9 * COST, ""));
}

#[sqlx::test]
async fn setting_a_budget_tells_every_router_to_forget_what_leases_pay_for(pool: PgPool) {
    let world = World::new(pool).await;
    let caller = caller(&world).await;
    let calls = (caller.app, caller.key);
    let request = world.lease_request_of(caller.account, world.epoch(), calls, (1, COST));
    let ask = |request| world.api.acquire_lease(Request::new(request));
    let answer = ask(request).await.unwrap().into_inner();
    assert!(answer.account_wide, "nothing binds it");
    // One router watches here, one another replica of billing.
    let there = world.replica();
    let stop = tokio_util::sync::CancellationToken::new();
    let passing = Arc::clone(&there.0);
    let passing = tokio::spawn({
        let stop = stop.clone();
        async move { passing.pass_recalls_on(stop).await }
    });
    let epoch_id = world.epoch().to_string();
    let watch = || {
        Request::new(WatchRecallsRequest {
            epoch_id: epoch_id.clone(),
        })
    };
    let mut told = [
        world.api.watch_recalls(watch()).await.unwrap().into_inner(),
        there.watch_recalls(watch()).await.unwrap().into_inner(),
    ];
    let month = BudgetPeriod::Month;
    set(
        &world,
        caller.account,
        of_key(caller.key),
        Some(COST),
        month,
    )
    .await
    .unwrap();
    for told in &mut told {
        let heard = async {
            while let Some(Ok(item)) = told.next().await {
                if item.forget {
                    return item.account_id;
                }
            }
            panic!("the watch ended");
        };
        let account = tokio::time::timeout(std::time::Duration::from_secs(1), heard);
        assert_eq!(account.await.unwrap(), caller.account.to_string());
    }
    stop.cancel();
    passing.await.unwrap();
    let request = world.lease_request_of(caller.account, world.epoch(), calls, (1, COST));
    assert!(!ask(request).await.unwrap().into_inner().account_wide);
}

#[sqlx::test]
async fn a_budget_that_another_replica_holds_comes_back_when_it_is_asked_for(pool: PgPool) {
    let world = World::new(pool).await;
    let caller = caller(&world).await;
    let month = BudgetPeriod::Month;
    set(
        &world,
        caller.account,
        of_key(caller.key),
        Some(COST),
        month,
    )
    .await
    .unwrap();
    let idle = caller.lease(&world, COST, COST).await.unwrap();
    let watch = WatchRecallsRequest {
        epoch_id: idle.epoch_id.clone(),
    };
    let watch = world.api.watch_recalls(Request::new(watch)).await;
    let mut told = watch.unwrap().into_inner();
    let give_back = async {
        while let Some(Ok(item)) = told.next().await {
            if item.account_id == idle.account_id {
                assert!(world.close(&idle, 0, 0).await.unwrap());
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = give_back => panic!("the watch ended"),
        lease = caller.lease(&world, COST, COST) => {
            assert_eq!(lease.unwrap().amount_nanos, COST);
        }
    }
}

#[sqlx::test]
async fn budgets_are_their_accounts_and_have_limits(pool: PgPool) {
    let world = World::new(pool).await;
    let caller = caller(&world).await;
    // Somebody else's budget of the same key binds nobody.
    let stranger = world.account();
    set(
        &world,
        stranger,
        of_key(caller.key),
        Some(0),
        BudgetPeriod::Month,
    )
    .await
    .unwrap();
    caller.lease(&world, COST, COST).await.unwrap();
    assert_eq!(list(&world, caller.account).await, []);
    let key = || Some(of_key(caller.key));
    let month = BudgetPeriod::Month.into();
    for (subject, amount, period) in [
        (None, Some(money(1)), month),
        (key(), Some(money(1)), BudgetPeriod::Unspecified.into()),
        (key(), Some(money(1)), 9),
        (
            key(),
            Some(Money {
                units: -1,
                ..money(1)
            }),
            month,
        ),
        (
            key(),
            Some(Money {
                units: 100_000_001,
                ..money(1)
            }),
            month,
        ),
        (
            key(),
            Some(Money {
                currency_code: "USD".to_owned(),
                ..money(1)
            }),
            month,
        ),
        (
            Some(set_budget_request::Subject::AppId("x".to_owned())),
            None,
            month,
        ),
    ] {
        let request = SetBudgetRequest {
            subject,
            amount,
            period,
        };
        let refused = world
            .api
            .set_budget(world.by(caller.account, request))
            .await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
    // Nothing at all may be spent.
    let month = BudgetPeriod::Month;
    set(&world, caller.account, of_key(caller.key), Some(0), month)
        .await
        .unwrap();
    let refused = caller.lease(&world, 1, 1).await.unwrap_err();
    assert_eq!(reason(&refused), "BUDGET_EXHAUSTED");
}
