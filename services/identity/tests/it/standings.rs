use std::time::Duration;

use sqlx::PgPool;
use wanwu_ids::AccountId;
use wanwu_proto::{
    identity::v1::{
        GetStandingRequest, Standing, WatchStandingsRequest,
        standing_service_server::StandingService,
    },
    privacy::v1::PrivacyGate,
    verification::v1::{AgeBand, RealNameGate},
};
use wanwu_testkit::wait_for;

use crate::world::{PHONE, WITHIN, World, told};

async fn standing(world: &World, account_id: AccountId) -> Option<Standing> {
    let account_id = account_id.to_string();
    let request = world.from("", GetStandingRequest { account_id });
    let answer = world.api.get_standing(request).await.ok()?;
    answer.into_inner().standing
}

#[sqlx::test]
async fn every_word_of_the_others_is_told_within_a_second_with_a_higher_version(pool: PgPool) {
    let world = World::new(pool).await;
    world.run();
    let (account, _) = world.registered(PHONE).await;
    wait_for("the watches", Duration::from_secs(10), || async {
        standing(&world, account).await.is_some()
    })
    .await;
    let mut last = standing(&world, account).await.unwrap();
    assert!(!last.agreements_current && !last.real_name_verified);
    let watch = world.from("", WatchStandingsRequest {});
    let mut watch = world.api.watch_standings(watch).await.unwrap().into_inner();
    let account_id = account.to_string();
    for version in 1..=6 {
        let odd = version % 2 == 1;
        if version <= 3 {
            world.peers.tell_privacy(PrivacyGate {
                account_id: account_id.clone(),
                version,
                agreements_current: odd,
                core_consent: odd,
                guardian_consent: !odd,
            });
        } else {
            world.peers.tell_real_name(RealNameGate {
                account_id: account_id.clone(),
                version,
                verified: odd,
                age_band: AgeBand::AgeBand14To17.into(),
            });
        }
        let took = told(&mut watch, |item| {
            let Some(standing) = &item.standing else {
                return false;
            };
            let newer = standing.version > last.version;
            if newer {
                last = standing.clone();
            }
            newer
        });
        let took = took.await;
        assert!(took < WITHIN, "{took:?}");
        if version <= 3 {
            assert_eq!(
                (last.agreements_current, last.guardian_consent),
                (odd, !odd)
            );
        } else {
            assert_eq!(last.real_name_verified, odd);
            assert_eq!(last.age_band, i32::from(AgeBand::AgeBand14To17));
        }
    }
}

#[sqlx::test]
async fn an_older_word_changes_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, _) = world.registered(PHONE).await;
    let gate = |version, agreements_current| PrivacyGate {
        account_id: account.to_string(),
        version,
        agreements_current,
        ..PrivacyGate::default()
    };
    let app = world.app();
    app.merge_privacy(account, &gate(5, true)).await.unwrap();
    for version in [4, 5] {
        app.merge_privacy(account, &gate(version, false))
            .await
            .unwrap();
    }
    let (current, version): (bool, i64) =
        sqlx::query_as("select agreements_current, version from standings")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert!(current);
    // The first is what it began with.
    let begun: i64 = 1;
    assert!(version == begun || version == begun + 1, "{version}");
}

#[sqlx::test]
async fn without_the_word_of_the_others_nobody_can_say(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, _) = world.registered(PHONE).await;
    world.stop.cancel();
    let account_id = account.to_string();
    let gone = || async {
        let account_id = account_id.clone();
        let request = world.from("", GetStandingRequest { account_id });
        let answer = world.api.get_standing(request).await;
        answer.is_err_and(|status| crate::world::reason(&status) == "STANDING_UNKNOWN")
    };
    wait_for("a refusal", Duration::from_secs(10), gone).await;
}
