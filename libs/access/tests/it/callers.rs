//! Who may call what, and as whom a handler sees him.

use std::sync::atomic::Ordering;

use tonic::Code;
use wanwu_access::Principal;
use wanwu_grpc::{Channel, PeerAddress};
use wanwu_proto::access::v1::principal;

use crate::{
    principals::{account, app_key, nobody},
    stand::{BALANCE, CALLBACK, CHAT, LEASE, PRICES, Stand, Standings, adult},
};

#[tokio::test]
async fn a_principal_of_whichever_peer_but_edge_is_refused() {
    let stand = Stand::start(None).await;
    for peer in [
        "identity",
        "verification",
        "billing",
        "inference-routing",
        "device-registry",
        "privacy",
    ] {
        // Also where the peer itself would be admitted.
        for path in [BALANCE, LEASE, PRICES] {
            let answer = stand.call(peer, path, &[account()]).await;
            let forged = answer.refused(Code::PermissionDenied, "PRINCIPAL_FORGED");
            assert!(forged, "{peer} {path}: {answer:?}");
        }
    }
    assert_eq!(stand.reached.load(Ordering::SeqCst), 0);
    assert!(
        stand
            .call("edge", BALANCE, &[account()])
            .await
            .seen_as("account")
    );
}

#[tokio::test]
async fn a_service_speaks_as_itself_where_the_rule_names_it() {
    let stand = Stand::start(None).await;
    let answer = stand.call("inference-routing", LEASE, &[]).await;
    assert!(answer.seen_as("inference-routing"), "{answer:?}");
    for (peer, path) in [("privacy", LEASE), ("edge", LEASE), ("privacy", BALANCE)] {
        let answer = stand.call(peer, path, &[]).await;
        assert!(
            answer.refused(Code::PermissionDenied, "NOT_ALLOWED"),
            "{peer}: {answer:?}"
        );
    }
    assert!(stand.call("edge", CALLBACK, &[]).await.seen_as("edge"));
}

#[tokio::test]
async fn nobody_reads_prices_and_no_balance() {
    let stand = Stand::start(None).await;
    assert!(
        stand
            .call("edge", PRICES, &[nobody()])
            .await
            .seen_as("nobody")
    );
    let answer = stand.call("edge", BALANCE, &[nobody()]).await;
    assert!(
        answer.refused(Code::Unauthenticated, "UNAUTHENTICATED"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn two_principals_or_a_broken_one_are_none() {
    let stand = Stand::start(None).await;
    let answer = stand.call("edge", BALANCE, &[account(), account()]).await;
    assert!(
        answer.refused(Code::Unauthenticated, "INVALID_CREDENTIAL"),
        "{answer:?}"
    );
    let mut broken = account();
    if let Some(principal::Subject::Account(account)) = &mut broken.subject {
        account.account_id = "somebody".to_owned();
    }
    let answer = stand.call("edge", BALANCE, &[broken]).await;
    assert!(
        answer.refused(Code::Unauthenticated, "INVALID_CREDENTIAL"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_foreign_network_is_refused() {
    let stand = Stand::start(None).await;
    let abroad = Principal {
        mainland: false,
        ..account()
    };
    let answer = stand.call("edge", BALANCE, &[abroad]).await;
    assert!(
        answer.refused(Code::PermissionDenied, "NETWORK_NOT_ALLOWED"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_key_without_the_scope_is_refused() {
    let stand = Stand::start(Some(Standings {
        fresh: Some(adult()),
        ..Standings::default()
    }))
    .await;
    assert!(
        stand
            .call("edge", CHAT, &[app_key("chat")])
            .await
            .seen_as("app key")
    );
    let answer = stand.call("edge", CHAT, &[app_key("speech")]).await;
    assert!(
        answer.refused(Code::PermissionDenied, "SCOPE_MISSING"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_method_without_a_rule_is_refused() {
    let stand = Stand::start(None).await;
    for path in [
        "/wanwu.billing.v1.BalanceService/TakeAll",
        "/someone.Else/Method",
    ] {
        for principals in [vec![], vec![account()]] {
            let answer = stand.call("edge", path, &principals).await;
            assert!(
                answer.refused(Code::Unimplemented, "UNKNOWN_METHOD"),
                "{answer:?}"
            );
        }
    }
    assert_eq!(stand.reached.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn every_peer_may_ask_for_health() {
    let stand = Stand::start(None).await;
    let tls = stand.authority.tls("privacy").unwrap();
    let address = PeerAddress::List(vec![stand.address.to_string()]);
    let channel = Channel::new("billing", address, &tls);
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let request = tonic_health::pb::HealthCheckRequest {
        service: String::new(),
    };
    health.check(request).await.unwrap();
}
