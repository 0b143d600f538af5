use std::sync::Arc;

use tonic::{Request, Status};
use wanwu_ids::{AccountId, AppId, KeyId, OperatorId, SessionId};

use crate::{OperatorRole, Reason, refusal};

/// Who calls, and through what. The access layer puts it into the extensions of every request
/// that it lets pass; [`caller`] takes it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// On whose behalf.
    pub subject: Subject,
    /// The id of the request, made by the edge; empty when a service calls as itself.
    pub request_id: String,
    /// The client's network is in mainland China. Services are.
    pub mainland: bool,
    /// Keyed hash of the client's address, for rate limits only; empty when a service calls.
    pub address_key: String,
}

/// On whose behalf a call is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Nobody is signed in.
    Nobody,
    /// A person with an access token.
    Account {
        /// The account.
        account_id: AccountId,
        /// The session that the token belongs to.
        session_id: SessionId,
    },
    /// An application with an API key.
    AppKey {
        /// The account that owns the app and pays.
        account_id: AccountId,
        /// The app.
        app_id: AppId,
        /// The key.
        key_id: KeyId,
        /// What the key may be used for.
        scopes: Vec<String>,
    },
    /// An operator.
    Operator {
        /// The operator.
        operator_id: OperatorId,
        /// The operator's session.
        session_id: SessionId,
        /// What the operator may do.
        roles: Vec<OperatorRole>,
    },
    /// A service as itself, by the name in its certificate.
    Service(Arc<str>),
}

impl Caller {
    /// A service that calls as itself.
    #[must_use]
    pub fn service_named(name: Arc<str>) -> Self {
        Self {
            subject: Subject::Service(name),
            request_id: String::new(),
            mainland: true,
            address_key: String::new(),
        }
    }

    /// The account that the call is for: a signed-in person's, or the owner's of the app.
    pub fn account_id(&self) -> Result<AccountId, Status> {
        match &self.subject {
            Subject::Account { account_id, .. } | Subject::AppKey { account_id, .. } => {
                Ok(*account_id)
            }
            _ => Err(self.refused()),
        }
    }

    /// The session of the person or operator.
    pub fn session_id(&self) -> Result<SessionId, Status> {
        match &self.subject {
            Subject::Account { session_id, .. } | Subject::Operator { session_id, .. } => {
                Ok(*session_id)
            }
            _ => Err(self.refused()),
        }
    }

    /// The app whose key was used.
    pub fn app_id(&self) -> Result<AppId, Status> {
        match &self.subject {
            Subject::AppKey { app_id, .. } => Ok(*app_id),
            _ => Err(self.refused()),
        }
    }

    /// The key that was used.
    pub fn key_id(&self) -> Result<KeyId, Status> {
        match &self.subject {
            Subject::AppKey { key_id, .. } => Ok(*key_id),
            _ => Err(self.refused()),
        }
    }

    /// The operator.
    pub fn operator_id(&self) -> Result<OperatorId, Status> {
        match &self.subject {
            Subject::Operator { operator_id, .. } => Ok(*operator_id),
            _ => Err(self.refused()),
        }
    }

    /// The operator holds this role.
    #[must_use]
    pub fn has_role(&self, role: OperatorRole) -> bool {
        matches!(&self.subject, Subject::Operator { roles, .. } if roles.contains(&role))
    }

    /// The service that calls as itself.
    pub fn service(&self) -> Result<&str, Status> {
        match &self.subject {
            Subject::Service(name) => Ok(name),
            _ => Err(self.refused()),
        }
    }

    /// A text that tells callers apart, for the scope of a `request_id`: "account:<id>".
    #[must_use]
    pub fn scope(&self) -> String {
        match &self.subject {
            Subject::Nobody => "nobody".to_owned(),
            Subject::Account { account_id, .. } | Subject::AppKey { account_id, .. } => {
                format!("account:{account_id}")
            }
            Subject::Operator { operator_id, .. } => format!("operator:{operator_id}"),
            Subject::Service(name) => format!("service:{name}"),
        }
    }

    fn refused(&self) -> Status {
        refusal(match self.subject {
            Subject::Nobody => Reason::Unauthenticated,
            _ => Reason::NotAllowed,
        })
    }
}

/// Who calls.
pub fn caller<T>(request: &Request<T>) -> Result<&Caller, Status> {
    // Only a request that went round the access layer has none: that is nobody's right.
    request
        .extensions()
        .get()
        .ok_or_else(|| refusal(Reason::Unauthenticated))
}
