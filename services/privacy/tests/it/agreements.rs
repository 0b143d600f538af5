use chrono::{Duration, TimeZone, Utc};
use privacy::{commands::PublishAgreement, error::Error};
use sqlx::PgPool;
use wanwu_ids::RequestId;

use crate::world::{World, folder, noon};

fn next_terms(w: &World, text: &str) -> PublishAgreement {
    PublishAgreement {
        operator_id: w.ids.id(),
        request_id: RequestId::from_uuid(w.request_id()),
        body: w.body(text),
        agreement: "terms_of_service".to_owned(),
        title: "服务协议".to_owned(),
        text: text.to_owned(),
        effective_at: noon() + Duration::days(7),
    }
}

#[sqlx::test]
async fn the_document_is_published_as_version_1_with_its_hash(pool: PgPool) {
    let w = World::new(pool).await;
    let versions = w.app.current_agreements().await.unwrap();
    let named: Vec<_> = versions
        .iter()
        .map(|v| (v.agreement.as_str(), v.number))
        .collect();
    assert_eq!(named, [("privacy_policy", 1), ("terms_of_service", 1)]);
    for version in versions {
        let (_, text) = w.app.agreement_text(version.version_id).await.unwrap();
        assert_eq!(privacy::purposes::sha256_hex(&text), version.sha256);
        assert!(text.chars().count() > 5_000, "the whole text is there");
    }
}

#[sqlx::test]
async fn publishing_the_same_folder_again_changes_nothing(pool: PgPool) {
    let w = World::new(pool.clone()).await;
    w.app.publish_catalogue(folder()).await.unwrap();
    // Each start tells of every version: who pins them may be newer than they are.
    let told: i64 = sqlx::query_scalar(
        "select count(*) from outbox where type = 'wanwu.privacy.v1.AgreementPublished'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(told, 4);
    let count: i64 = sqlx::query_scalar("select count(*) from agreement_versions")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(count, 2);
}

#[sqlx::test]
async fn a_text_that_is_not_the_one_of_its_hash_is_refused(pool: PgPool) {
    let w = World::new(pool).await;
    let copy = tempfile::tempdir().unwrap();
    for file in [
        "agreements.toml",
        "purposes.toml",
        "terms_of_service-1.txt",
        "privacy_policy-1.txt",
    ] {
        std::fs::copy(folder().join(file), copy.path().join(file)).unwrap();
    }
    let terms = copy.path().join("terms_of_service-1.txt");
    let text = std::fs::read_to_string(&terms).unwrap();
    std::fs::write(&terms, text.replacen("本公司", "本公司们", 1)).unwrap();
    let error = w.app.publish_catalogue(copy.path()).await.unwrap_err();
    assert!(
        error.to_string().contains("terms_of_service version 1"),
        "{error}"
    );
}

#[sqlx::test]
async fn a_published_version_cannot_be_changed_or_removed(pool: PgPool) {
    let _w = World::new(pool.clone()).await;
    for statement in [
        "update agreement_versions set title = 'x'",
        "delete from agreement_versions",
    ] {
        let error = sqlx::query(statement).execute(&pool).await.unwrap_err();
        assert!(
            error.to_string().contains("append-only"),
            "{statement}: {error}"
        );
    }
}

#[sqlx::test]
async fn the_version_in_force_at_an_instant_is_the_newest_effective_one(pool: PgPool) {
    let w = World::new(pool).await;
    let next = w
        .app
        .publish_agreement(next_terms(&w, "新条款"))
        .await
        .unwrap();
    assert_eq!(next.number, 2);

    let before = Utc.with_ymd_and_hms(2024, 3, 20, 15, 59, 59).unwrap();
    let none = w
        .app
        .agreement_in_force("terms_of_service", before)
        .await
        .unwrap_err();
    assert!(matches!(none, Error::NotFound));
    // 00:00 in Shanghai is 16:00 UTC of the day before.
    let at = |instant| w.app.agreement_in_force("terms_of_service", instant);
    assert_eq!(at(before + Duration::seconds(1)).await.unwrap().number, 1);
    assert_eq!(at(noon()).await.unwrap().number, 1);
    let effective = noon() + Duration::days(7);
    assert_eq!(
        at(effective - Duration::milliseconds(1))
            .await
            .unwrap()
            .number,
        1
    );
    assert_eq!(at(effective).await.unwrap().number, 2);
}

#[sqlx::test]
async fn a_version_is_never_published_into_the_past(pool: PgPool) {
    let w = World::new(pool).await;
    let mut command = next_terms(&w, "新条款");
    command.effective_at = noon() - Duration::seconds(1);
    let error = w.app.publish_agreement(command).await.unwrap_err();
    assert!(matches!(
        error,
        Error::Invalid {
            field: "effective_time",
            ..
        }
    ));
}

#[sqlx::test]
async fn a_repeated_publication_is_one_and_another_body_is_refused(pool: PgPool) {
    let w = World::new(pool).await;
    let command = next_terms(&w, "新条款");
    let (operator_id, request_id) = (command.operator_id, command.request_id);
    let first = w.app.publish_agreement(command).await.unwrap();
    let same = PublishAgreement {
        operator_id,
        request_id,
        ..next_terms(&w, "新条款")
    };
    assert_eq!(
        w.app.publish_agreement(same).await.unwrap().version_id,
        first.version_id
    );
    let other = PublishAgreement {
        operator_id,
        request_id,
        ..next_terms(&w, "别的条款")
    };
    let error = w.app.publish_agreement(other).await.unwrap_err();
    assert!(matches!(error, Error::RequestIdReused));
}

#[sqlx::test]
async fn an_acceptance_must_name_exactly_the_current_versions(pool: PgPool) {
    let w = World::new(pool).await;
    let current = w.current().await;
    let account_id = w.account();
    for named in [
        vec![],
        vec![current[0]],
        vec![current[0], current[1], w.ids.id()],
    ] {
        let error = w
            .app
            .accept_agreements(account_id, &named)
            .await
            .unwrap_err();
        let Error::AgreementsNotAccepted { current: told } = error else {
            panic!("{error}")
        };
        assert_eq!(told.len(), 2, "the error says what would be right");
        assert!(!w.app.gate(account_id).await.unwrap().agreements_current);
    }
    w.app.accept_agreements(account_id, &current).await.unwrap();
    assert!(w.app.gate(account_id).await.unwrap().agreements_current);
}
