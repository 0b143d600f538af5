use billing::store::audit;
use sqlx::PgPool;
use tonic::Request;
use wanwu_proto::billing::v1::{AuditLedgerRequest, balance_service_server::BalanceService};

use crate::world::{World, YUAN};

#[sqlx::test]
async fn what_is_written_stays(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let lease = world.lease(account, world.epoch(), YUAN).await;
    world.settle(&world.usage(&lease, 1, 1)).await.unwrap();
    for statement in [
        "update entries set amount_nanos = amount_nanos + 1",
        "delete from entries",
        "truncate entries",
        "update transfers set kind = 'usage'",
        "delete from transfers",
        "truncate transfers cascade",
        "update calls set amount_nanos = 0",
        "delete from calls",
        "truncate calls",
        "update payments set amount_fen = 1",
        "delete from payments",
        "truncate payments cascade",
        "update price_lists set effective_at = now()",
        "update prices set nanos_per_unit = 0",
        "delete from prices",
    ] {
        let refused = sqlx::query(statement).execute(&world.pool).await;
        let error = refused.unwrap_err().into_database_error().unwrap();
        assert_eq!(error.code().as_deref(), Some("23001"), "{statement}");
    }
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_transfer_that_does_not_sum_to_zero_does_not_commit(pool: PgPool) {
    let world = World::new(pool).await;
    world.customer(1000).await;
    let mut tx = world.pool.begin().await.unwrap();
    sqlx::query(
        "insert into transfers (transfer_id, kind, cause_id, booked_at)
         values ('00000000-0000-0000-0000-000000000001', 'usage',
                 '00000000-0000-0000-0000-000000000001', now())",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query(
        "insert into entries (transfer_id, ledger_account_id, amount_nanos)
         select '00000000-0000-0000-0000-000000000001', min(ledger_account_id), 1
         from ledger_accounts",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    let refused = tx.commit().await.unwrap_err();
    assert!(wanwu_postgres::violates(&refused, "entries_balanced_check"));
    world.assert_sound().await;
}

#[sqlx::test]
async fn nobody_holds_less_than_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    world.customer(1000).await;
    for kind in ["available", "leased", "revenue"] {
        let refused = sqlx::query(
            "insert into ledger_accounts (kind, account_id, balance_nanos)
             values ($1, '00000000-0000-0000-0000-000000000001', -1)",
        )
        .bind(kind)
        .execute(&world.pool)
        .await
        .unwrap_err();
        assert!(wanwu_postgres::violates(
            &refused,
            "ledger_accounts_balance_nanos_check"
        ));
    }
}

#[sqlx::test]
async fn an_audit_finds_a_planted_row(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    world.lease(account, world.epoch(), YUAN).await;
    let sound = world.api.audit_ledger(Request::new(AuditLedgerRequest {}));
    let sound = sound.await.unwrap().into_inner();
    assert_eq!((sound.entries_sum.as_str(), sound.entries), ("0", 4));
    assert_eq!((sound.unbalanced_transfers, sound.wrong_balances), (0, 0));

    // As somebody who can switch the triggers off.
    let mut forger = world.pool.acquire().await.unwrap();
    sqlx::raw_sql(
        "set session_replication_role = replica;
         update entries set amount_nanos = amount_nanos + 5
         where amount_nanos > 0 and ledger_account_id = (
             select ledger_account_id from ledger_accounts where kind = 'leased');
         set session_replication_role = origin",
    )
    .execute(&mut *forger)
    .await
    .unwrap();
    let audit = world.app().audit_ledger().await.unwrap();
    assert_eq!(audit.entries_sum, "5");
    assert_eq!((audit.unbalanced_transfers, audit.wrong_balances), (1, 1));
    assert_eq!(audit.wrong(), 3);
}

#[sqlx::test]
async fn a_changed_balance_is_seen_at_a_glance(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    world.lease(account, world.epoch(), YUAN).await;
    let mut connection = world.pool.acquire().await.unwrap();
    let (add, move_it) = (
        "update ledger_accounts set balance_nanos = balance_nanos + 1 where kind = 'available'",
        "update ledger_accounts set balance_nanos = balance_nanos
             + case kind when 'available' then 1 when 'leased' then -1 else 0 end",
    );
    for (forgery, glance, entries) in [(add, 1, 1), (move_it, 2, 2)] {
        sqlx::query(forgery)
            .execute(&mut *connection)
            .await
            .unwrap();
        let seen = audit::glance(&mut connection).await.unwrap();
        assert_eq!(seen, glance, "{forgery}");
        let audit = world.app().audit_ledger().await.unwrap();
        assert_eq!(audit.wrong_balances, entries, "{forgery}");
    }
    world.app().measure().await.unwrap();
    world.app().audit().await.unwrap();
}
