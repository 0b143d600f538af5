use sqlx::PgPool;

use crate::world::{World, reason, resident_id};

#[sqlx::test]
async fn a_consent_is_good_for_one_query_of_its_giver(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let number = resident_id("19900307");
    let first = world.submission(account, &number);
    world.submit(account, &first).await.unwrap();
    assert_eq!(world.agency.asked(), (1, 1));

    // Rejected, and tried again on the same consent.
    let mut second = world.submission(account, &number);
    second.consent_id.clone_from(&first.consent_id);
    let refused = world.submit(account, &second).await.unwrap_err();
    assert_eq!(reason(&refused), "CONSENT_REQUIRED");
    // Somebody else's consent.
    let other = world.account();
    let mut third = world.submission(account, &number);
    third.consent_id = world.submission(other, &number).consent_id;
    let refused = world.submit(account, &third).await.unwrap_err();
    assert_eq!(reason(&refused), "CONSENT_REQUIRED");
    // None.
    third.consent_id = world.ids.id::<()>().to_string();
    let refused = world.submit(account, &third).await.unwrap_err();
    assert_eq!(reason(&refused), "CONSENT_REQUIRED");
    assert_eq!(world.agency.asked(), (1, 1), "nobody was asked");
}

#[sqlx::test]
async fn without_privacys_word_nobody_is_asked(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let request = world.submission(account, &resident_id("19900307"));
    world.stop.cancel();
    let refused = tokio::time::timeout(
        std::time::Duration::from_secs(40),
        world.submit(account, &request),
    );
    let refused = refused.await.unwrap().unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    assert_eq!(world.agency.asked(), (0, 0));
}
