//! Calls go on down to exactly the limit, and no further.

use futures::future::join_all;
use sqlx::PgPool;
use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::Lease;

use super::{at, due, grant, lendable, limits, lower, shown, spend, top_up};
use crate::world::{World, YUAN, nanos, reason};

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
