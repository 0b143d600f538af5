//! The layer in a server over real TLS: what peers may say, and what accounts pass.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Extension, Router, response::IntoResponse};
use http::{HeaderMap, HeaderName, Request, header};
use tokio_util::sync::CancellationToken;
use tonic::{Code, body::Body, service::RoutesBuilder};
use tonic_types::StatusExt;
use tower::ServiceExt;
use wanwu_access::{
    AccessLayer, Caller, PRINCIPAL_HEADER, Principal, StandingAnswer, StandingSource,
    StandingUnknown, Subject, principal_header,
};
use wanwu_grpc::{Channel, GrpcConfig, PeerAddress, Server, code_of, testing::TestAuthority};
use wanwu_ids::{AccountId, AppId, Ids, KeyId, SessionId};
use wanwu_proto::{
    access::v1::{AccountSubject, AppKeySubject, principal},
    identity::v1::{AgeBand, Standing},
};

const BALANCE: &str = "/wanwu.billing.v1.BalanceService/GetBalance";
const TOP_UP: &str = "/wanwu.billing.v1.OrderService/CreateTopUpOrder";
const CHAT: &str = "/wanwu.inference.v1.ChatService/CreateChatCompletion";
const LEASE: &str = "/wanwu.billing.v1.LeaseService/AcquireLease";
const PRICES: &str = "/wanwu.billing.v1.PriceService/GetPriceList";
const CALLBACK: &str = "/wanwu.billing.v1.PaymentCallbackService/ReceiveWeChatPayCallback";

/// Standings that a test sets: fresh, to be asked for, absent or not to be had.
#[derive(Clone, Default)]
struct Standings {
    fresh: Option<Standing>,
    asked: Option<Result<Option<Standing>, StandingUnknown>>,
    asks: Arc<AtomicUsize>,
}

impl StandingSource for Standings {
    fn fresh(&self, _: AccountId) -> Option<Arc<Standing>> {
        self.fresh.clone().map(Arc::new)
    }

    fn ask(&self, _: AccountId) -> StandingAnswer<'_> {
        self.asks.fetch_add(1, Ordering::SeqCst);
        let answer = self.asked.clone().unwrap_or(Err(StandingUnknown));
        Box::pin(async move { answer.map(|standing| standing.map(Arc::new)) })
    }
}

struct Stand {
    authority: TestAuthority,
    address: SocketAddr,
    reached: Arc<AtomicUsize>,
}

impl Stand {
    async fn start(standings: Option<Standings>) -> Self {
        let authority = TestAuthority::start().unwrap();
        let tls = authority.tls("billing").unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = GrpcConfig {
            listen,
            ..GrpcConfig::default()
        };
        let server = Server::bind(&config, &tls).await.unwrap();
        let address = server.local_addr();
        let reached = Arc::new(AtomicUsize::new(0));
        let router = Router::new()
            .fallback(answer)
            .layer(Extension(Arc::clone(&reached)));
        let routes = RoutesBuilder::from(router).routes();
        let standings = standings.map(|source| Arc::new(source) as Arc<dyn StandingSource>);
        let access = AccessLayer::of_contracts(standings);
        let token = CancellationToken::new();
        tokio::spawn(server.run(routes, access, token.clone(), token));
        Self {
            authority,
            address,
            reached,
        }
    }

    /// Calls `path` as `peer`; what came back, and who the handler saw.
    async fn call(&self, peer: &str, path: &str, principals: &[Principal]) -> Answer {
        let tls = self.authority.tls(peer).unwrap();
        let address = PeerAddress::List(vec![self.address.to_string()]);
        let channel = Channel::new("billing", address, &tls);
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/grpc");
        for principal in principals {
            request = request.header(PRINCIPAL_HEADER, principal_header(principal));
        }
        let response = channel
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let headers = response.headers();
        let status = tonic::Status::from_header_map(headers).unwrap();
        Answer {
            code: code_of(headers).unwrap(),
            reason: status
                .get_details_error_info()
                .map_or_else(String::new, |info| info.reason),
            caller: headers
                .get("x-caller")
                .map(|v| v.to_str().unwrap().to_owned()),
        }
    }
}

#[derive(Debug)]
struct Answer {
    code: Code,
    reason: String,
    caller: Option<String>,
}

impl Answer {
    fn refused(&self, code: Code, reason: &str) -> bool {
        self.code == code && self.reason == reason && self.caller.is_none()
    }

    fn seen_as(&self, caller: &str) -> bool {
        self.code == Code::Ok && self.caller.as_deref() == Some(caller)
    }
}

async fn answer(
    Extension(reached): Extension<Arc<AtomicUsize>>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
) -> impl IntoResponse {
    reached.fetch_add(1, Ordering::SeqCst);
    assert!(
        !headers.contains_key(PRINCIPAL_HEADER),
        "the header is read once"
    );
    let seen = caller.map_or("none".to_owned(), |Extension(caller)| {
        match caller.subject {
            Subject::Nobody => "nobody".to_owned(),
            Subject::Account { .. } => "account".to_owned(),
            Subject::AppKey { .. } => "app key".to_owned(),
            Subject::Operator { .. } => "operator".to_owned(),
            Subject::Service(name) => name.to_string(),
        }
    });
    [
        (
            HeaderName::from_static("content-type"),
            "application/grpc".to_owned(),
        ),
        (HeaderName::from_static("grpc-status"), "0".to_owned()),
        (HeaderName::from_static("x-caller"), seen),
    ]
}

fn account() -> Principal {
    let ids = Ids::system();
    let account = AccountSubject {
        account_id: AccountId::to_string(&ids.id()),
        session_id: SessionId::to_string(&ids.id()),
    };
    let subject = Some(principal::Subject::Account(account));
    Principal {
        subject,
        mainland: true,
        ..Principal::default()
    }
}

fn app_key(scope: &str) -> Principal {
    let ids = Ids::system();
    let key = AppKeySubject {
        account_id: AccountId::to_string(&ids.id()),
        app_id: AppId::to_string(&ids.id()),
        key_id: KeyId::to_string(&ids.id()),
        scopes: vec![scope.to_owned()],
    };
    let subject = Some(principal::Subject::AppKey(key));
    Principal {
        subject,
        mainland: true,
        ..Principal::default()
    }
}

fn nobody() -> Principal {
    Principal {
        mainland: true,
        ..Principal::default()
    }
}

fn adult() -> Standing {
    Standing {
        agreements_current: true,
        core_consent: true,
        real_name_verified: true,
        age_band: AgeBand::Adult.into(),
        ..Standing::default()
    }
}

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
