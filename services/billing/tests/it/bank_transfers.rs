mod bank;

use sqlx::PgPool;
use tonic::Status;
use wanwu_proto::{
    billing::v1::{
        BankTransferState, DeclareBankTransferRequest, ListBankTransfersRequest,
        ListStatementLinesRequest, balance_service_server::BalanceService,
        bank_transfer_service_server::BankTransferService, order_service_server::OrderService,
    },
    identity::v1::AgeBand,
};

use crate::{
    minors::{allow, limit},
    terminations::noticed,
    world::{YUAN, nanos, reason},
};
use bank::{Bank, NUMBER};

#[sqlx::test]
async fn the_five_fields_are_kept_and_the_account_is_sealed_and_masked(pool: PgPool) {
    let bank = Bank::new(pool).await;
    let account = bank.world.account();
    let request = bank.request(1000);
    let declared = bank.send(account, &request).await.unwrap();
    assert_eq!(declared.state(), BankTransferState::Declared);
    assert_eq!(declared.masked_account_number, "****7890");
    assert!(declared.reference.starts_with("WW") && declared.reference.len() == 10);
    assert_eq!(
        bank.send(account, &request).await.unwrap(),
        declared,
        "again, the same"
    );
    let mut other = request.clone();
    other.bank_name = "招商银行".to_owned();
    let reused = bank.send(account, &other).await.unwrap_err();
    assert_eq!(reason(&reused), "REQUEST_ID_REUSED");
    let stored: String = sqlx::query_scalar("select string_agg(t::text, '') from bank_transfers t")
        .fetch_one(&bank.world.pool)
        .await
        .unwrap();
    let sealed = ["6222021234567890", "北京某某"]
        .map(|text| stored.contains(text) || stored.contains(&hex::encode(text)));
    assert_eq!(sealed, [false, false]);
    let changes: [fn(&mut DeclareBankTransferRequest); 5] = [
        |request| request.bank_name.clear(),
        |request| request.account_number = "12".to_owned(),
        |request| request.account_name.clear(),
        |request| request.amount = None,
        |request| request.transfer_time = None,
    ];
    for change in changes {
        let mut lacking = bank.request(1000);
        change(&mut lacking);
        let refused = bank.send(account, &lacking).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_ARGUMENT");
    }
}

#[sqlx::test]
async fn a_statement_counts_once_however_often_it_is_imported(pool: PgPool) {
    let bank = Bank::new(pool).await;
    let account = bank.world.account();
    let declared = bank.declare(account, 1000).await;
    let line = bank.line("S1", 1000, NUMBER, &declared.reference);
    let first = bank.import(std::slice::from_ref(&line)).await.unwrap();
    assert_eq!((first.new_lines, first.matched_lines), (1, 1));
    let again = bank
        .import(&[line, bank.line("S2", 5, "", "")])
        .await
        .unwrap();
    assert_eq!(
        (again.new_lines, again.known_lines, again.matched_lines),
        (1, 1, 0)
    );
    assert_eq!(bank.world.balance(account).await, (1000 * YUAN, 0));
    assert_eq!(
        bank.newest(account).await,
        (BankTransferState::Received, 1000)
    );

    let changed = bank.line("S1", 999, NUMBER, &declared.reference);
    let refused = bank
        .import(&[bank.line("S3", 7, "", ""), changed])
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "BANK_LINE_CONFLICT");
    assert_eq!(
        bank.unmatched().await.len(),
        1,
        "nothing of that file was taken"
    );
    bank.world.assert_sound().await;
}

#[sqlx::test]
async fn what_an_import_left_behind_is_found_once_and_not_for_who_declares_later(pool: PgPool) {
    let bank = Bank::new(pool).await;
    let (account, late) = (bank.world.account(), bank.world.account());
    let declared = bank.declare(account, 1000).await;
    let lines = [
        bank.line("S1", 1000, "", &declared.reference),
        bank.line("S2", 300, NUMBER, ""),
    ];
    // The import ends before it has looked whose the lines are.
    sqlx::query("alter table bank_matches add constraint ends check (false)")
        .execute(&bank.world.pool)
        .await
        .unwrap();
    bank.import(&lines).await.unwrap_err();
    sqlx::query("alter table bank_matches drop constraint ends")
        .execute(&bank.world.pool)
        .await
        .unwrap();
    assert_eq!(bank.unmatched().await.len(), 2);
    bank.world.clock.advance(chrono::Duration::seconds(1));
    bank.declare(late, 300).await;
    bank.api.0.match_waiting().await.unwrap();
    bank.api.0.match_waiting().await.unwrap();
    assert_eq!(bank.world.balance(account).await, (1000 * YUAN, 0));
    assert_eq!(bank.world.balance(late).await, (0, 0));
    let again = bank.import(&lines).await.unwrap();
    assert_eq!((again.known_lines, again.matched_lines), (2, 0));
    assert_eq!(bank.unmatched().await.len(), 1);
    bank.world.assert_sound().await;
}

#[sqlx::test]
async fn a_part_is_credited_and_what_is_too_much_is_nobodys_until_somebody_looks(pool: PgPool) {
    let bank = Bank::new(pool).await;
    let account = bank.world.account();
    let declared = bank.declare(account, 1000).await;
    let part = bank.line("S1", 400, "", &declared.reference);
    bank.import(&[part]).await.unwrap();
    assert_eq!(
        bank.newest(account).await,
        (BankTransferState::Partial, 400)
    );
    let too_much = bank.line("S2", 700, "", &declared.reference.to_lowercase());
    bank.import(&[too_much]).await.unwrap();
    assert_eq!(
        bank.newest(account).await,
        (BankTransferState::Received, 1000)
    );
    assert_eq!(
        (
            bank.holds("bank_unmatched").await,
            bank.holds("cash_bank").await
        ),
        (100, -1100)
    );
    let open = bank.unmatched().await;
    assert_eq!(
        (open.len(), nanos(open[0].unmatched.clone())),
        (1, 100 * YUAN)
    );
    bank.match_line(&open[0], &declared).await.unwrap();
    assert_eq!(bank.world.balance(account).await, (1100 * YUAN, 0));
    let nothing = bank.match_line(&open[0], &declared).await.unwrap_err();
    assert_eq!(reason(&nothing), "BANK_LINE_NOT_OPEN");
    bank.world.assert_sound().await;
}

#[sqlx::test]
async fn a_wrong_remark_is_matched_by_account_and_amount_where_that_is_one(pool: PgPool) {
    let bank = Bank::new(pool).await;
    let (one, two) = (bank.world.account(), bank.world.account());
    bank.declare(one, 300).await;
    bank.import(&[bank.line("S1", 300, "6222021234567890", "货款 WW")])
        .await
        .unwrap();
    assert_eq!(bank.world.balance(one).await, (300 * YUAN, 0));
    // Two who declare the same: an operator decides.
    bank.declare(one, 200).await;
    let declared = bank.declare(two, 200).await;
    bank.import(&[bank.line("S2", 200, NUMBER, "WWAAAAAAAA")])
        .await
        .unwrap();
    let open = bank.unmatched().await;
    assert_eq!(open[0].reference, "WWAAAAAAAA");
    bank.match_line(&open[0], &declared).await.unwrap();
    assert_eq!(bank.world.balance(two).await, (200 * YUAN, 0));
    bank.world.assert_sound().await;
}

#[sqlx::test]
async fn what_the_bank_takes_back_the_customer_gives_back_or_owes(pool: PgPool) {
    let bank = Bank::new(pool).await;
    let account = bank.world.account();
    let declared = bank.declare(account, 1000).await;
    let came = bank.line("S1", 1000, NUMBER, &declared.reference);
    let nobodys = bank.line("S2", 50, "", "");
    bank.import(&[came, nobodys]).await.unwrap();
    let lease = bank
        .world
        .lease(account, bank.world.epoch(), 400 * YUAN)
        .await;
    let back = [
        bank.reversal("R1", 1000, "S1"),
        bank.reversal("R2", 50, "S2"),
    ];
    // Lines of one instant have no order of their own.
    bank.world.clock.advance(chrono::Duration::seconds(1));
    let first = bank.import(&back).await.unwrap();
    assert_eq!((first.new_lines, first.reversals), (2, 2));
    assert_eq!(bank.import(&back).await.unwrap().known_lines, 2);
    assert_eq!(bank.world.balance(account).await, (0, 400 * YUAN));
    assert_eq!(bank.newest(account).await, (BankTransferState::Declared, 0));
    assert_eq!(bank.holds("bank_owed").await, -400);
    assert_eq!(
        (
            bank.holds("bank_unmatched").await,
            bank.holds("cash_bank").await
        ),
        (0, 0)
    );
    assert_eq!(bank.unmatched().await.len(), 0);
    assert!(bank.world.close(&lease, 0, 0).await.unwrap());
    let request = bank.world.by(account, ListStatementLinesRequest::default());
    let lines = bank.world.api.list_statement_lines(request).await.unwrap();
    let amounts: Vec<_> = lines
        .into_inner()
        .lines
        .into_iter()
        .map(|l| nanos(l.amount) / YUAN)
        .collect();
    assert_eq!(amounts, [-1000, 1000]);
    let unknown = bank
        .import(&[bank.reversal("R3", 5, "S9")])
        .await
        .unwrap_err();
    assert_eq!(reason(&unknown), "INVALID_ARGUMENT");
    bank.world.assert_sound().await;
}

#[sqlx::test]
async fn a_minor_declares_what_the_guardian_allowed_and_it_counts_with_the_orders(pool: PgPool) {
    let bank = Bank::new(pool).await;
    let world = &bank.world;
    let minor = world.account();
    let declare = async |age, yuan| {
        let request = world.by_aged(minor, age, bank.request(yuan));
        let answer = bank.api.declare_bank_transfer(request).await?;
        Ok::<_, Status>(answer.into_inner().bank_transfer.unwrap())
    };
    let teen = AgeBand::AgeBand14To17;
    assert_eq!(limit(&declare(teen, 1).await.unwrap_err()), "none");
    allow(world, minor, 1, (1000, 2500)).await;
    assert_eq!(limit(&declare(teen, 11).await.unwrap_err()), "order");
    let declared = declare(teen, 10).await.unwrap();
    assert_eq!(declared.purchase_allowance_version, 1);
    let order = world.by_aged(minor, teen, world.order_request(1000));
    world.api.create_top_up_order(order).await.unwrap();
    assert_eq!(limit(&declare(teen, 6).await.unwrap_err()), "month");
    let order = world.by_aged(minor, teen, world.order_request(501));
    let refused = world.api.create_top_up_order(order).await.unwrap_err();
    assert_eq!(limit(&refused), "month");
    declare(AgeBand::AgeBand8To13, 5).await.unwrap();
    // Nothing is written of what was refused, and the money of what was not is credited.
    let request = world.by(minor, ListBankTransfersRequest::default());
    let listed = bank.api.list_bank_transfers(request).await.unwrap();
    assert_eq!(listed.into_inner().bank_transfers.len(), 2);
    let line = bank.line("m-1", 10, NUMBER, &declared.reference);
    bank.import(&[line]).await.unwrap();
    assert_eq!(world.balance(minor).await, (10 * YUAN, 0));
    let refused = declare(AgeBand::Under8, 1).await.unwrap_err();
    assert_eq!(reason(&refused), "AGE_REFUSED");
    let adult = bank.declare(world.account(), 50_000).await;
    assert_eq!(adult.purchase_allowance_version, 0);
}

#[sqlx::test]
async fn who_has_no_contract_any_more_declares_nothing(pool: PgPool) {
    let bank = Bank::new(pool).await;
    let account = bank.world.account();
    noticed(&bank.world, account).await;
    bank.declare(account, 1).await;
    bank.world.clock.advance(chrono::Duration::days(31));
    bank.world.app().end_contracts().await.unwrap();
    let refused = bank.send(account, &bank.request(1)).await.unwrap_err();
    assert_eq!(reason(&refused), "TERMINATION_STATE");
}
