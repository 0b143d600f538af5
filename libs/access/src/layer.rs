use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};
use wanwu_grpc::Peer;
use wanwu_ids::AccountId;

use crate::{
    Caller, PRINCIPAL_HEADER, Reason, Rule, Rules, StandingSource, Subject, gate, is_open,
    read_principal, refusal,
};

/// Lets a call pass only as its rule says, and tells the handler who calls.
#[derive(Clone)]
pub struct AccessLayer {
    rules: Arc<Rules>,
    standing: Option<Arc<dyn StandingSource>>,
}

/// See [`AccessLayer`].
#[derive(Clone)]
pub struct Access<S> {
    inner: S,
    layer: AccessLayer,
}

impl AccessLayer {
    /// A layer of these rules. Without a source of standings nobody passes a rule with gates.
    #[must_use]
    pub fn new(rules: Arc<Rules>, standing: Option<Arc<dyn StandingSource>>) -> Self {
        Self { rules, standing }
    }

    /// The layer of the contracts that this build knows.
    #[must_use]
    pub fn of_contracts(standing: Option<Arc<dyn StandingSource>>) -> Self {
        let rules = Rules::of_contracts().expect("a test reads the rules of the build");
        Self::new(Arc::new(rules), standing)
    }

    /// Who calls and by which rule; what needs no waiting.
    fn admit<B>(&self, request: &Request<B>) -> Result<(Caller, Arc<Rule>), Reason> {
        let caller = who(request)?;
        let rule = self.rules.admit(request.uri().path(), &caller)?;
        Ok((caller, Arc::clone(rule)))
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, inner: S) -> Access<S> {
        Access {
            inner,
            layer: self.clone(),
        }
    }
}

impl<S> Service<Request<Body>> for Access<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if is_open(request.uri().path()) && request.extensions().get::<Peer>().is_some() {
            return Box::pin(self.inner.call(request));
        }
        let (caller, rule) = match self.layer.admit(&request) {
            Ok(admitted) => admitted,
            Err(reason) => return refused(request.uri().path(), reason),
        };
        let account_id = gated(&caller, &rule);
        request.headers_mut().remove(PRINCIPAL_HEADER);
        request.extensions_mut().insert(caller);
        let Some(account_id) = account_id else {
            return Box::pin(self.inner.call(request));
        };
        let Some(standing) = self.layer.standing.clone() else {
            return refused(request.uri().path(), Reason::StandingUnknown);
        };
        if let Some(standing) = standing.fresh(account_id) {
            return match gate(&standing, &rule.gates) {
                Ok(()) => {
                    request.extensions_mut().insert(standing);
                    Box::pin(self.inner.call(request))
                }
                Err(reason) => refused(request.uri().path(), reason),
            };
        }
        // The service that was polled ready takes the call, later.
        let inner = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, inner);
        Box::pin(async move {
            let asked = match standing.ask(account_id).await {
                Ok(Some(standing)) => {
                    let passed = gate(&standing, &rule.gates);
                    request.extensions_mut().insert(standing);
                    passed
                }
                // There is no such account any more.
                Ok(None) => Err(Reason::AccountClosed),
                Err(_) => Err(Reason::StandingUnknown),
            };
            match asked {
                Ok(()) => inner.call(request).await,
                Err(reason) => refused(request.uri().path(), reason).await,
            }
        })
    }
}

/// Who calls: a service as itself, or whom the edge names.
fn who<B>(request: &Request<B>) -> Result<Caller, Reason> {
    let peer: &Peer = request.extensions().get().ok_or(Reason::Unauthenticated)?;
    let mut principals = request.headers().get_all(PRINCIPAL_HEADER).iter();
    match (principals.next(), principals.next()) {
        (None, _) => Ok(Caller::service_named(peer.shared())),
        (Some(_), _) if !peer.is_edge() => {
            tracing::warn!(peer = peer.service(), "a principal was forged");
            Err(Reason::PrincipalForged)
        }
        (Some(principal), None) => {
            read_principal(principal.as_bytes()).map_err(|_| Reason::InvalidCredential)
        }
        (Some(_), Some(_)) => Err(Reason::InvalidCredential),
    }
}

/// The account whose standing decides, if any does.
fn gated(caller: &Caller, rule: &Rule) -> Option<AccountId> {
    match caller.subject {
        Subject::Account { account_id, .. } | Subject::AppKey { account_id, .. } => {
            (!rule.gates.is_empty()).then_some(account_id)
        }
        _ => None,
    }
}

fn refused(
    path: &str,
    reason: Reason,
) -> Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>> {
    tracing::debug!(path, reason = reason.as_str_name(), "a call is refused");
    Box::pin(std::future::ready(Ok(refusal(reason).into_http())))
}
