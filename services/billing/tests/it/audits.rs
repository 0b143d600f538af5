//! Somebody who may do everything in the database rewrites the ledger; an audit names the row.

use std::sync::Arc;

use billing::{
    auditor::{Auditor, Report},
    domain::checkpoint::CheckpointKeys,
};
use sqlx::{AssertSqlSafe, Connection, PgPool};
use uuid::Uuid;

use crate::world::{World, YUAN};

fn auditor(world: &World) -> Auditor {
    let keys = CheckpointKeys::new("k1", [("k1", [7; 32])]);
    Auditor::new(world.pool.clone(), Arc::new(world.clock.clone()), keys)
}

/// As somebody who can switch the triggers off.
async fn forge(world: &World, sql: &str) {
    let mut forger = world.pool.acquire().await.unwrap().detach();
    let sql = format!("set session_replication_role = replica; {sql}");
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut forger)
        .await
        .unwrap();
    forger.close().await.unwrap();
}

async fn audit(world: &World) -> Report {
    auditor(world).audit().await.unwrap()
}

/// What the audit says first.
async fn first(world: &World) -> String {
    let report = audit(world).await;
    report
        .wrong
        .first()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// A customer with two calls on a lease that is closed: 6 transfers, 12 entries.
async fn busy(world: &World) {
    let account = world.customer(1000).await;
    let lease = world.lease(account, world.epoch(), YUAN).await;
    let (one, two) = (world.usage(&lease, 10, 20), world.usage(&lease, 30, 40));
    world.settle(&one).await.unwrap();
    world.settle(&two).await.unwrap();
    let sum = one.amount_nanos + two.amount_nanos;
    assert!(world.close(&lease, 2, sum).await.unwrap());
}

/// The transfer of the account's entry at a place.
async fn transfer_at(world: &World, kind: &str, place: i64) -> Uuid {
    sqlx::query_scalar(
        "select transfer_id from entries join ledger_accounts a using (ledger_account_id)
         where a.kind = $1 and entries.chain_position = $2",
    )
    .bind(kind)
    .bind(place)
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

#[sqlx::test]
async fn an_honest_ledger_is_proved_whole(pool: PgPool) {
    let world = World::new(pool).await;
    busy(&world).await;
    let auditor = auditor(&world);
    let made = auditor.make_checkpoint().await.unwrap().unwrap();
    assert_eq!((made.number, made.heads.len()), (1, 4));
    assert_eq!(
        auditor.make_checkpoint().await.unwrap(),
        None,
        "nothing new"
    );
    busy(&world).await;
    let made = auditor.make_checkpoint().await.unwrap().unwrap();
    assert_eq!((made.number, made.heads.len()), (2, 4), "cash went on");
    let report = auditor.audit().await.unwrap();
    assert_eq!(report.wrong, []);
    assert_eq!((report.accounts, report.entries), (7, 20));
    assert_eq!((report.unsealed, report.checkpoints, report.sum), (0, 2, 0));
}

#[sqlx::test]
async fn every_forgery_names_its_row(pool: PgPool) {
    let world = World::new(pool).await;
    busy(&world).await;
    let second_usage = transfer_at(&world, "leased", 3).await;
    let account = "(select ledger_account_id from ledger_accounts where kind = 'leased')";
    // Both sides changed, balances too: every sum is right.
    forge(
        &world,
        &format!(
            "update entries set amount_nanos = amount_nanos + sign(amount_nanos)::int
             where transfer_id = '{second_usage}';
             update calls set amount_nanos = amount_nanos + 1
             where call_id = (select cause_id from transfers where transfer_id = '{second_usage}');
             update ledger_accounts set balance_nanos = balance_nanos
                 + case kind when 'leased' then -1 when 'revenue' then 1 else 0 end
             where kind = 'revenue'"
        ),
    )
    .await;
    let report = audit(&world).await;
    let text: Vec<_> = report.wrong.iter().map(ToString::to_string).collect();
    assert!(text[0].contains(&second_usage.to_string()), "{text:?}");
    assert!(text[0].ends_with("its hash differs"), "{text:?}");
    forge(
        &world,
        &format!("delete from entries where ledger_account_id = {account} and chain_position = 2"),
    )
    .await;
    assert!(
        first(&world)
            .await
            .contains("an entry before it is missing")
    );
}

#[sqlx::test]
async fn a_changed_cause_time_or_owner_is_seen(pool: PgPool) {
    let world = World::new(pool).await;
    busy(&world).await;
    let lease = transfer_at(&world, "available", 2).await;
    for (forgery, undo) in [
        (
            "update transfers set cause_id = '00000000-0000-0000-0000-000000000009' where kind = 'lease'",
            "update transfers set cause_id = (select lease_id from leases) where kind = 'lease'",
        ),
        (
            "update transfers set booked_at = booked_at - interval '1 day' where kind = 'lease'",
            "update transfers set booked_at = booked_at + interval '1 day' where kind = 'lease'",
        ),
    ] {
        forge(&world, forgery).await;
        let said = first(&world).await;
        assert!(said.contains(&lease.to_string()), "{forgery}: {said}");
        forge(&world, undo).await;
        assert_eq!(first(&world).await, "");
    }
    forge(
        &world,
        "update ledger_accounts set account_id = '00000000-0000-0000-0000-000000000009'
         where kind = 'available'",
    )
    .await;
    let top_up = transfer_at(&world, "available", 1).await;
    assert!(first(&world).await.contains(&top_up.to_string()));
}

#[sqlx::test]
async fn a_planted_entry_and_a_changed_balance_are_named(pool: PgPool) {
    let world = World::new(pool).await;
    busy(&world).await;
    forge(
        &world,
        "update ledger_accounts set balance_nanos = balance_nanos + 1 where kind = 'available'",
    )
    .await;
    assert!(first(&world).await.contains("its balance is"));
    forge(
        &world,
        "update ledger_accounts set balance_nanos = balance_nanos - 1 where kind = 'available';
         insert into transfers values ('00000000-0000-0000-0000-000000000009', 'top_up',
             '00000000-0000-0000-0000-000000000009', now());
         insert into entries (transfer_id, ledger_account_id, amount_nanos)
         select '00000000-0000-0000-0000-000000000009', ledger_account_id,
             case kind when 'available' then 1 else -1 end
         from ledger_accounts where kind in ('available', 'cash_wechat')",
    )
    .await;
    let report = audit(&world).await;
    let planted = report.wrong.iter().map(ToString::to_string);
    let planted = planted.filter(|said| said.ends_with("it is not in the chain"));
    assert_eq!(planted.count(), 2, "{report:?}");
}

#[sqlx::test]
async fn a_chain_that_was_computed_anew_breaks_its_checkpoint(pool: PgPool) {
    let world = World::new(pool).await;
    busy(&world).await;
    auditor(&world).make_checkpoint().await.unwrap();
    // The forger takes a fen from everywhere and lets the database chain everything again.
    forge(
        &world,
        "update entries set amount_nanos = amount_nanos - sign(amount_nanos)::int,
             chain_position = null, chain_hash = null;
         update ledger_accounts a set chain_position = null, chain_hash = null, balance_nanos =
             (select sum(amount_nanos) from entries e where e.ledger_account_id = a.ledger_account_id);
         update calls set amount_nanos = amount_nanos - 1;
         select seal_account(ledger_account_id) from ledger_accounts",
    )
    .await;
    let said = first(&world).await;
    assert!(said.starts_with("checkpoint 1: entry"), "{said}");
    assert!(said.ends_with("is another than was signed"), "{said}");
    // Checkpoint and heads rewritten as well: the signature is missing.
    forge(
        &world,
        "update ledger_checkpoint_heads h set chain_hash = e.chain_hash from entries e
         where e.ledger_account_id = h.ledger_account_id and e.chain_position = h.chain_position",
    )
    .await;
    assert_eq!(
        first(&world).await,
        "checkpoint 1: its digest is not of its heads"
    );
    let strangers = CheckpointKeys::new("k1", [("k1", [8; 32])]);
    let stranger = Auditor::new(world.pool.clone(), Arc::new(world.clock.clone()), strangers);
    forge(
        &world,
        "delete from ledger_checkpoint_heads; delete from ledger_checkpoints",
    )
    .await;
    stranger.make_checkpoint().await.unwrap();
    assert_eq!(
        first(&world).await,
        "checkpoint 1: its signature is not ours"
    );
}

#[sqlx::test]
async fn what_was_cut_off_the_end_is_missed(pool: PgPool) {
    let world = World::new(pool).await;
    busy(&world).await;
    auditor(&world).make_checkpoint().await.unwrap();
    // The last transfer, as if it had never been.
    forge(
        &world,
        "create temporary table cut as select transfer_id from transfers where kind = 'lease_return';
         update ledger_accounts a set balance_nanos = balance_nanos - e.amount_nanos,
             chain_position = a.chain_position - 1,
             chain_hash = (select p.chain_hash from entries p
                 where p.ledger_account_id = a.ledger_account_id
                   and p.chain_position = a.chain_position - 1)
         from entries e join cut using (transfer_id)
         where e.ledger_account_id = a.ledger_account_id;
         delete from entries where transfer_id in (select transfer_id from cut);
         delete from transfers where transfer_id in (select transfer_id from cut)",
    )
    .await;
    let said = first(&world).await;
    assert!(said.starts_with("checkpoint 1: entry"), "{said}");
    assert!(said.ends_with("is gone"), "{said}");
}

#[sqlx::test]
async fn entries_from_before_the_chain_are_sealed_in_their_order(pool: PgPool) {
    let world = World::new(pool).await;
    busy(&world).await;
    // As the version before left them.
    forge(
        &world,
        "update entries set chain_position = null, chain_hash = null;
         update ledger_accounts set chain_position = null, chain_hash = null",
    )
    .await;
    let report = audit(&world).await;
    assert_eq!((report.wrong.len(), report.unsealed), (0, 10), "{report:?}");
    // The next entry of an account seals those before it; the rest is sealed by the migration.
    let account: Uuid =
        sqlx::query_scalar("select account_id from ledger_accounts where kind = 'leased'")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    let account = wanwu_ids::AccountId::from_uuid(account);
    world.lease(account, world.epoch(), YUAN).await;
    let report = audit(&world).await;
    assert_eq!((report.wrong.len(), report.unsealed), (0, 3), "{report:?}");
    sqlx::raw_sql("call seal_accounts()")
        .execute(&world.pool)
        .await
        .unwrap();
    let report = audit(&world).await;
    assert_eq!((report.wrong.len(), report.unsealed), (0, 0), "{report:?}");
}

#[sqlx::test]
async fn a_sealed_entry_is_never_sealed_again(pool: PgPool) {
    let world = World::new(pool).await;
    busy(&world).await;
    for statement in [
        "update entries set chain_hash = sha256('x')",
        "update entries set chain_hash = null",
        "update entries set chain_position = chain_position + 1",
        "delete from ledger_checkpoints",
        "truncate ledger_checkpoint_heads",
        "delete from orders",
        "truncate orders cascade",
        "delete from leases",
    ] {
        auditor(&world).make_checkpoint().await.unwrap();
        let refused = sqlx::query(statement).execute(&world.pool).await;
        let error = refused.unwrap_err().into_database_error().unwrap();
        assert_eq!(error.code().as_deref(), Some("23001"), "{statement}");
    }
}
