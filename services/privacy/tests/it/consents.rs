use privacy::{
    commands::{GiveConsent, UseConsent},
    error::Error,
};
use sqlx::PgPool;
use wanwu_ids::{AccountId, RequestId};
use wanwu_postgres::page::PageRequest;

use crate::world::World;

fn give(w: &World, account_id: AccountId, purpose: &str) -> GiveConsent {
    GiveConsent {
        account_id,
        request_id: RequestId::from_uuid(w.request_id()),
        body: w.body(purpose),
        purpose: purpose.to_owned(),
        text_sha256: w
            .app
            .purposes
            .text_sha256(purpose)
            .unwrap_or_default()
            .to_owned(),
    }
}

#[sqlx::test]
async fn a_consent_names_the_exact_text_that_was_shown(pool: PgPool) {
    let w = World::new(pool).await;
    let account_id = w.registered().await;
    let mut stale = give(&w, account_id, "real_name_agency_query");
    stale.text_sha256 = privacy::purposes::sha256_hex("另一段文字");
    let error = w.app.give_consent(stale).await.unwrap_err();
    assert!(matches!(
        error,
        Error::Invalid {
            field: "text_sha256",
            ..
        }
    ));
    let error = w
        .app
        .give_consent(give(&w, account_id, "marketing"))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        Error::Invalid {
            field: "purpose",
            ..
        }
    ));
}

#[sqlx::test]
async fn a_single_use_consent_is_good_for_one_act(pool: PgPool) {
    let w = World::new(pool).await;
    let account_id = w.registered().await;
    let purpose = "real_name_agency_query";
    let consent = w
        .app
        .give_consent(give(&w, account_id, purpose))
        .await
        .unwrap();
    let (first, second) = (w.request_id(), w.request_id());
    let act = |account_id, purpose: &str, use_id| UseConsent {
        account_id,
        consent_id: consent.consent_id,
        purpose: purpose.to_owned(),
        use_id,
    };
    w.app
        .use_consent(act(account_id, purpose, first))
        .await
        .unwrap();
    w.app
        .use_consent(act(account_id, purpose, first))
        .await
        .unwrap();
    let error = w
        .app
        .use_consent(act(account_id, purpose, second))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ConsentUsed));
    let error = w
        .app
        .use_consent(act(account_id, "core_service", first))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound), "another purpose");
    let error = w
        .app
        .use_consent(act(w.account(), purpose, first))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound), "another account");
}

#[sqlx::test]
async fn fifty_acts_at_once_use_a_consent_once(pool: PgPool) {
    let w = World::new(pool).await;
    let account_id = w.registered().await;
    let purpose = "real_name_agency_query";
    let consent = w
        .app
        .give_consent(give(&w, account_id, purpose))
        .await
        .unwrap();
    let acts = (0..50).map(|_| {
        let command = UseConsent {
            account_id,
            consent_id: consent.consent_id,
            purpose: purpose.to_owned(),
            use_id: w.request_id(),
        };
        w.app.use_consent(command)
    });
    let outcomes = futures::future::join_all(acts).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}

#[sqlx::test]
async fn a_withdrawal_is_an_entry_and_shuts_the_gate(pool: PgPool) {
    let w = World::new(pool.clone()).await;
    let account_id = w.registered().await;
    let before = w.app.gate(account_id).await.unwrap();
    assert!(before.core_consent && before.agreements_current);

    w.app
        .withdraw_consent(account_id, "core_service")
        .await
        .unwrap();
    let after = w.app.gate(account_id).await.unwrap();
    assert!(!after.core_consent);
    assert!(after.agreements_current, "only the consent is withdrawn");
    assert!(after.version > before.version);

    let page = PageRequest::parse(0, "").unwrap();
    let consents = w.app.list_consents(account_id, &page).await.unwrap().items;
    assert_eq!(consents.len(), 1);
    assert!(consents[0].withdrawn_at.is_some());
    let error = sqlx::query("delete from consent_entries")
        .execute(&pool)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("append-only"));
    let again = w
        .app
        .withdraw_consent(account_id, "core_service")
        .await
        .unwrap_err();
    assert!(matches!(again, Error::NotFound));

    w.app
        .give_consent(give(&w, account_id, "core_service"))
        .await
        .unwrap();
    let given = w.app.gate(account_id).await.unwrap();
    assert!(given.core_consent && given.version > after.version);
}

#[sqlx::test]
async fn a_withdrawn_consent_cannot_be_used(pool: PgPool) {
    let w = World::new(pool).await;
    let account_id = w.registered().await;
    let purpose = "real_name_agency_query";
    let consent = w
        .app
        .give_consent(give(&w, account_id, purpose))
        .await
        .unwrap();
    w.app.withdraw_consent(account_id, purpose).await.unwrap();
    let command = UseConsent {
        account_id,
        consent_id: consent.consent_id,
        purpose: purpose.to_owned(),
        use_id: w.request_id(),
    };
    assert!(matches!(
        w.app.use_consent(command).await.unwrap_err(),
        Error::NotFound
    ));
}
