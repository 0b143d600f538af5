//! What accounts pass by their standing, whether it is fresh, asked for or not to be had.

use std::sync::atomic::Ordering;

use tonic::Code;
use wanwu_access::StandingUnknown;
use wanwu_proto::identity::v1::Standing;

use crate::{
    principals::account,
    stand::{BALANCE, Stand, Standings, TOP_UP, adult},
};

#[tokio::test]
async fn a_fresh_standing_decides_without_a_question() {
    let suspended = Standing {
        suspended: true,
        ..adult()
    };
    let standings = Standings {
        fresh: Some(suspended),
        ..Standings::default()
    };
    let stand = Stand::start(Some(standings.clone())).await;
    let answer = stand.call("edge", TOP_UP, &[account()]).await;
    assert!(
        answer.refused(Code::PermissionDenied, "ACCOUNT_SUSPENDED"),
        "{answer:?}"
    );
    assert!(
        stand
            .call("edge", BALANCE, &[account()])
            .await
            .seen_as("account"),
        "no gates"
    );
    assert_eq!(standings.asks.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_standing_that_is_not_fresh_is_asked_for() {
    let cases = [
        (Ok(Some(adult())), Code::Ok, ""),
        (
            Ok(Some(Standing {
                real_name_verified: false,
                ..adult()
            })),
            Code::PermissionDenied,
            "REAL_NAME_REQUIRED",
        ),
        (Ok(None), Code::PermissionDenied, "ACCOUNT_CLOSED"),
        (Err(StandingUnknown), Code::Unavailable, "STANDING_UNKNOWN"),
    ];
    for (asked, code, reason) in cases {
        let standings = Standings {
            asked: Some(asked.clone()),
            ..Standings::default()
        };
        let stand = Stand::start(Some(standings)).await;
        let answer = stand.call("edge", TOP_UP, &[account()]).await;
        assert_eq!(
            (answer.code, answer.reason.as_str()),
            (code, reason),
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn without_a_source_of_standings_nobody_passes_a_gate() {
    let stand = Stand::start(None).await;
    let answer = stand.call("edge", TOP_UP, &[account()]).await;
    assert!(
        answer.refused(Code::Unavailable, "STANDING_UNKNOWN"),
        "{answer:?}"
    );
}
