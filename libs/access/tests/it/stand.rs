//! A server with the layer, whose handler says whom it saw, and the standings that it knows.

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
use wanwu_ids::AccountId;
use wanwu_proto::identity::v1::{AgeBand, Standing};

pub const BALANCE: &str = "/wanwu.billing.v1.BalanceService/GetBalance";
pub const TOP_UP: &str = "/wanwu.billing.v1.OrderService/CreateTopUpOrder";
pub const CHAT: &str = "/wanwu.inference.v1.ChatService/CreateChatCompletion";
pub const LEASE: &str = "/wanwu.billing.v1.LeaseService/AcquireLease";
pub const PRICES: &str = "/wanwu.billing.v1.PriceService/GetPriceList";
pub const CALLBACK: &str = "/wanwu.billing.v1.PaymentCallbackService/ReceiveWeChatPayCallback";

/// Standings that a test sets: fresh, to be asked for, absent or not to be had.
#[derive(Clone, Default)]
pub struct Standings {
    pub fresh: Option<Standing>,
    pub asked: Option<Result<Option<Standing>, StandingUnknown>>,
    pub asks: Arc<AtomicUsize>,
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

pub fn adult() -> Standing {
    Standing {
        agreements_current: true,
        core_consent: true,
        real_name_verified: true,
        age_band: AgeBand::Adult.into(),
        ..Standing::default()
    }
}

pub struct Stand {
    pub authority: TestAuthority,
    pub address: SocketAddr,
    pub reached: Arc<AtomicUsize>,
}

impl Stand {
    pub async fn start(standings: Option<Standings>) -> Self {
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
    pub async fn call(&self, peer: &str, path: &str, principals: &[Principal]) -> Answer {
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
pub struct Answer {
    pub code: Code,
    pub reason: String,
    caller: Option<String>,
}

impl Answer {
    pub fn refused(&self, code: Code, reason: &str) -> bool {
        self.code == code && self.reason == reason && self.caller.is_none()
    }

    pub fn seen_as(&self, caller: &str) -> bool {
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
