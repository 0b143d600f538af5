use chrono::Duration;
use privacy::{commands::PublishAgreement, store::gates};
use sqlx::PgPool;
use wanwu_ids::RequestId;

use crate::world::{World, noon};

#[sqlx::test]
async fn an_account_without_records_passes_nothing(pool: PgPool) {
    let w = World::new(pool).await;
    let gate = w.app.gate(w.account()).await.unwrap();
    assert!(!gate.agreements_current && !gate.core_consent && !gate.guardian_consent);
}

#[sqlx::test]
async fn a_new_version_in_force_shuts_the_gate_until_it_is_accepted(pool: PgPool) {
    let w = World::new(pool).await;
    let account_id = w.registered().await;
    w.app
        .publish_agreement(PublishAgreement {
            operator_id: w.ids.id(),
            request_id: RequestId::from_uuid(w.request_id()),
            body: w.body("新政策"),
            agreement: "privacy_policy".to_owned(),
            title: "隐私政策".to_owned(),
            text: "新政策".to_owned(),
            effective_at: noon() + Duration::days(7),
        })
        .await
        .unwrap();
    let before = w.app.gate(account_id).await.unwrap();
    assert!(before.agreements_current, "published, not yet in force");

    w.clock.advance(Duration::days(7));
    let after = w.app.gate(account_id).await.unwrap();
    assert!(!after.agreements_current);
    assert!(
        after.version > before.version,
        "a holder must take the new state"
    );

    w.app
        .accept_agreements(account_id, &w.current().await)
        .await
        .unwrap();
    assert!(w.app.gate(account_id).await.unwrap().agreements_current);
}

#[sqlx::test]
async fn a_change_is_found_by_its_time(pool: PgPool) {
    let w = World::new(pool.clone()).await;
    let account_id = w.registered().await;
    let long_ago = noon() - Duration::days(4000);
    let changes = gates::changed_since(&pool, long_ago, noon()).await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].0, w.app.gate(account_id).await.unwrap());
}
