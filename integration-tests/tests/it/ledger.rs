//! What the database itself refuses, also to the service that owns it.

use std::process::Command;

use sqlx::{Connection, PgConnection};

use crate::world::{customer, stack};

#[tokio::test]
async fn billings_own_role_may_not_change_or_delete_what_was_booked() {
    let stack = stack();
    customer().await;
    let url = &stack.description().database.urls["billing"];
    let mut billing = PgConnection::connect(url).await.unwrap();
    for statement in [
        "delete from entries",
        "truncate entries",
        "update entries set amount_nanos = 0",
        "delete from transfers",
        "delete from payments",
        "update payments set amount_fen = 1",
        "truncate calls",
        "delete from ledger_accounts",
        "delete from ledger_checkpoints",
    ] {
        let refused = sqlx::query(statement).execute(&mut billing).await;
        let error = refused.unwrap_err().into_database_error().unwrap();
        assert_eq!(error.code().as_deref(), Some("42501"), "{statement}");
    }
}

#[tokio::test]
async fn the_audit_on_the_host_proves_the_ledger_whole() {
    let stack = stack();
    customer().await;
    let audit = Command::new(stack.description().binaries.join("billing"))
        .arg("--config")
        .arg(&stack.service("billing").config)
        .arg("audit")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&audit.stdout);
    assert!(audit.status.success(), "{said}");
    assert!(said.contains(" sum to 0,"), "{said}");
}
