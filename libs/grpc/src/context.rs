use std::{future::Future, sync::Arc, time::Duration};

use http::HeaderName;
use tokio::time::Instant;
use wanwu_ids::{Ids, RequestId};

/// What a call carries on to every call that it makes: the id of the request and the instant by
/// which it must be answered. Handlers need not touch it; code that moves work to another task
/// takes [`Context::current`] along and enters it there with [`Context::scope`].
#[derive(Clone, Debug)]
pub struct Context {
    request_id: Arc<str>,
    deadline: Option<Instant>,
}

tokio::task_local! {
    static CURRENT: Context;
}

/// The header that carries the id of the request between services. The edge strips it, as every
/// `wanwu-*` header, from what comes from outside.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("wanwu-request-id");

impl Context {
    /// A context that begins here, with a new id and no deadline.
    #[must_use]
    pub fn begin() -> Self {
        let request_id: RequestId = Ids::system().id();
        Self {
            request_id: request_id.to_string().into(),
            deadline: None,
        }
    }

    /// A context of a request that has an id (a UUID) already; another text gets a new id.
    #[must_use]
    pub fn of(request_id: &str) -> Self {
        match request_id.parse::<RequestId>() {
            Ok(_) => Self {
                request_id: request_id.into(),
                deadline: None,
            },
            Err(_) => Self::begin(),
        }
    }

    /// The context of the call that is being answered by this task.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The id of the request.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// What is left until the deadline; zero when it passed, `None` when there is none.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The same context with a deadline, unless its own is nearer.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        let deadline = Instant::now() + timeout;
        self.deadline = Some(self.deadline.map_or(deadline, |own| own.min(deadline)));
        self
    }

    /// The same context without its deadline: for work that outlives the call.
    #[must_use]
    pub fn without_deadline(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// Runs a future in this context.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Runs a function in this context.
    pub(crate) fn enter<R>(&self, function: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self.clone(), function)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}
