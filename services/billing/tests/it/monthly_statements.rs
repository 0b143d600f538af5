//! The statement of a month: made once, complete, signed.

use std::sync::Arc;

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use billing::{
    domain::{checkpoint::CheckpointKeys, statement_check},
    grpc::StatementHandlers,
    statement_desk::StatementDesk,
};
use chrono::Duration;
use sqlx::PgPool;
use tonic::{Code, Status};
use wanwu_clock::Clock;
use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::{
    GetStatementRequest, ListStatementsRequest, Statement,
    statement_service_server::StatementService,
};

use crate::world::{PRICES, World, YUAN, nanos};

fn desk(world: &World) -> StatementHandlers {
    let keys = CheckpointKeys::new("k1", [("k1", [9; 32])]);
    let clock = Arc::new(world.clock.clone());
    StatementHandlers(Arc::new(StatementDesk::new(
        world.pool.clone(),
        clock,
        keys,
    )))
}

async fn read(
    world: &World,
    desk: &StatementHandlers,
    account: AccountId,
    month: &str,
) -> Result<(Statement, String), Status> {
    let mut file = Vec::new();
    let mut part = 0;
    loop {
        let month = month.to_owned();
        let request = world.by(account, GetStatementRequest { month, part });
        let answer = desk.get_statement(request).await?.into_inner();
        assert!(answer.content.len() <= 256 * 1024);
        file.extend(answer.content);
        part += 1;
        let statement = answer.statement.unwrap();
        if part == statement.parts {
            return Ok((statement, String::from_utf8(file).unwrap()));
        }
    }
}

/// The file is what was signed.
fn assert_proved(statement: &Statement, file: &str) {
    let sum = digest(&SHA256, file.as_bytes());
    assert_eq!(statement.sha256, sum.as_ref());
    assert_eq!(statement.size, file.len() as i64);
    UnparsedPublicKey::new(&ED25519, &statement.public_key)
        .verify(&statement.sha256, &statement.signature)
        .unwrap();
    let keys = [(statement.key_id.as_str(), statement.public_key.as_slice())];
    let checked = statement_check::check(file.as_bytes(), &statement.signature, keys).unwrap();
    assert_eq!(checked.month, statement.month);
    assert_eq!(checked.closing_nanos, nanos(statement.closing.clone()));
}

/// What an operator of the host reads of `billing verify-statement`, and whether it succeeded.
fn verify_on_host(statement: &Statement, file: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let config = r#"
        [database]
        url = "postgres://nowhere"
        [broker]
        url = "amqp://nowhere"
        [wechat_pay]
        mchid = "1"
        appid = "2"
        merchant_serial = "3"
        platform_serial = "4"
        api_v3_key = "0123456789abcdef0123456789abcdef"
        notify_url = "https://api.example.cn/payments/wechat/callback"
    "#;
    std::fs::write(path("billing.toml"), config).unwrap();
    std::fs::write(path("statement.csv"), file).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_billing"))
        .arg("--config")
        .arg(path("billing.toml"))
        .arg("verify-statement")
        .arg(path("statement.csv"))
        .args(["--signature", &STANDARD.encode(&statement.signature)])
        .args(["--public-key", &STANDARD.encode(&statement.public_key)])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[sqlx::test]
async fn who_has_a_statement_verifies_it_on_the_host(pool: PgPool) {
    let world = World::new(pool).await;
    let desk = desk(&world);
    let account = world.customer(1000).await;
    world.clock.advance(Duration::days(9));
    assert_eq!(desk.0.make_due().await.unwrap(), 1);
    let (statement, file) = read(&world, &desk, account, "2026-11").await.unwrap();
    let (holds, said) = verify_on_host(&statement, &file);
    assert!(
        holds && said.contains("1 lines, from 0.000000000 to 10.000000000"),
        "{said}"
    );
    assert!(said.contains(&account.to_string()), "{said}");
    let more = file.replacen(",10.000000000,", ",90.000000000,", 1);
    let (holds, said) = verify_on_host(&statement, &more);
    assert!(!holds && said.contains("row 3: the balance"), "{said}");
    let (holds, said) = verify_on_host(&statement, &file.replace("top-up", "gift"));
    assert!(
        !holds && said.contains("the signature is not of this file"),
        "{said}"
    );
}

/// A decimal of yuan in 10^-9 CNY.
fn decimal(text: &str) -> i64 {
    let digits: i64 = text.replace('.', "").parse().unwrap();
    digits
}

#[sqlx::test]
async fn a_statement_is_made_once_when_its_month_is_over_and_agrees_with_the_ledger(pool: PgPool) {
    let world = World::new(pool).await;
    let desk = desk(&world);
    let account = world.customer(1000).await;
    let stranger = world.account();
    let lease = world.lease(account, world.epoch(), YUAN).await;
    let mut spent = 0;
    for n in 1..=3 {
        let usage = world.usage(&lease, n, 10 * n);
        spent += n * PRICES.0 + 10 * n * PRICES.1;
        world.settle(&usage).await.unwrap();
    }
    // 23 November, noon. The lease is open when the month ends: what is set aside is held.
    world
        .clock
        .advance(Duration::days(7) + Duration::hours(12) + Duration::minutes(59));
    assert_eq!(desk.0.make_due().await.unwrap(), 0, "not closed yet");
    world.clock.advance(Duration::minutes(2));
    let other = self::desk(&world);
    let (one, two) = tokio::join!(desk.0.make_due(), other.0.make_due());
    assert_eq!(one.unwrap() + two.unwrap(), 1);
    assert_eq!(desk.0.make_due().await.unwrap(), 0, "once");

    let (november, file) = read(&world, &desk, account, "2026-11").await.unwrap();
    assert_proved(&november, &file);
    assert_eq!((nanos(november.opening.clone()), november.lines), (0, 4));
    assert_eq!(nanos(november.closing.clone()), 10 * YUAN - spent);
    let rows: Vec<Vec<_>> = file
        .split_terminator("\r\n")
        .map(|row| row.split(',').collect())
        .collect();
    assert_eq!(rows.len(), 1 + 1 + 4 + 1, "head, opening, lines, closing");
    let mut balance = decimal(rows[1][3]);
    for row in &rows[2..6] {
        balance += decimal(row[2]);
        assert_eq!(decimal(row[3]), balance);
    }
    assert_eq!(decimal(rows[6][3]), balance);
    assert_eq!(balance, nanos(november.closing.clone()));
    assert!(
        rows[1][4].contains(&account.to_string()),
        "it says whose it is"
    );

    // The next month begins where this one ended.
    assert!(world.close(&lease, 3, spent).await.unwrap());
    world.clock.advance(Duration::days(32));
    assert_eq!(desk.0.make_due().await.unwrap(), 1);
    let (december, file) = read(&world, &desk, account, "2026-12").await.unwrap();
    assert_proved(&december, &file);
    assert_eq!(december.opening, november.closing);
    assert_eq!(
        (december.closing.clone(), december.lines),
        (november.closing.clone(), 0)
    );
    let listed = world.by(account, ListStatementsRequest::default());
    let listed = desk.list_statements(listed).await.unwrap().into_inner();
    assert_eq!(listed.statements, [december, november]);

    for (who, month, code) in [
        (stranger, "2026-11", Code::NotFound),
        (account, "2026-10", Code::NotFound),
        (account, "2026-1", Code::InvalidArgument),
        (account, "", Code::InvalidArgument),
    ] {
        let refused = read(&world, &desk, who, month).await.unwrap_err();
        assert_eq!(refused.code(), code, "{month}");
    }
    for change in [
        "update monthly_statements set closing_nanos = 0",
        "delete from monthly_statements",
        "update monthly_statement_parts set content = ''",
        "delete from monthly_statement_parts",
    ] {
        let refused = sqlx::query(change).execute(&world.pool).await;
        let error = refused.unwrap_err().into_database_error().unwrap();
        assert_eq!(error.code().as_deref(), Some("23001"), "{change}");
    }
}

#[sqlx::test]
async fn a_long_statement_is_its_parts_one_after_the_other(pool: PgPool) {
    let world = World::new(pool).await;
    let desk = desk(&world);
    let account = world.customer(1000).await;
    // Four thousand movements of one unit each.
    let sql = "with made as (
            insert into ledger_accounts (kind, account_id)
            select kind, $1 from unnest(array['package', 'discount']) as kind
            returning ledger_account_id, kind
        ), moved as (
            insert into transfers (transfer_id, kind, cause_id, booked_at)
            select gen_random_uuid(), 'package_discount', gen_random_uuid(), $2
            from generate_series(1, 4000) returning transfer_id
        )
        select transfer_id, ledger_account_id, case kind when 'package' then 1 else -1 end::bigint
        from moved cross join made";
    let mut tx = world.pool.begin().await.unwrap();
    let entries: Vec<(uuid::Uuid, i64, i64)> = sqlx::query_as(sql)
        .bind(account)
        .bind(world.clock.now())
        .fetch_all(&mut *tx)
        .await
        .unwrap();
    let (transfers, (accounts, amounts)): (Vec<_>, (Vec<_>, Vec<_>)) = entries
        .into_iter()
        .map(|(transfer, account, amount)| (transfer, (account, amount)))
        .unzip();
    sqlx::query(
        "insert into entries (transfer_id, ledger_account_id, amount_nanos)
         select * from unnest($1::uuid[], $2::bigint[], $3::bigint[])",
    )
    .bind(transfers)
    .bind(accounts)
    .bind(amounts)
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    world.clock.advance(Duration::days(9));
    assert_eq!(desk.0.make_due().await.unwrap(), 1);
    let (statement, file) = read(&world, &desk, account, "2026-11").await.unwrap();
    assert!(statement.parts > 1, "{}", statement.parts);
    assert_proved(&statement, &file);
    assert_eq!(statement.lines, 4001);
    assert_eq!(file.matches("\r\n").count(), 4004);
    assert_eq!(nanos(statement.closing), 10 * YUAN + 4000);
}
