use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_grpc::status;
use wanwu_ids::{AccountId, Id};
use wanwu_proto::inference::v1::{
    GetAccountLimitsRequest, GetAccountLimitsResponse, Limits, ListLimitsRequest,
    ListLimitsResponse, SetAccountLimitsRequest, SetAccountLimitsResponse, SetLimitsRequest,
    SetLimitsResponse, SubjectLimits, limit_service_server::LimitService, set_limits_request,
    subject_limits,
};

use super::Handlers;
use crate::{
    commands::limits::{self, Asked},
    domain::limits::{Level, Priority, Rule, Subject},
    error::Error,
    store::usage_events::timestamp,
};

#[tonic::async_trait]
impl LimitService for Handlers {
    async fn set_limits(
        &self,
        request: Request<SetLimitsRequest>,
    ) -> Result<Response<SetLimitsResponse>, Status> {
        let account = caller(&request)?.account_id()?;
        let message = request.into_inner();
        let subject = subject(message.subject).map_err(|error| status(&error))?;
        let rule = rule(message.limits).map_err(|error| status(&error))?;
        let limits = limits::set_limits(&self.pool, account, subject, rule).await;
        Ok(Response::new(SetLimitsResponse {
            limits: Some(limits.map_err(|error| status(&error))?.into()),
        }))
    }

    async fn list_limits(
        &self,
        request: Request<ListLimitsRequest>,
    ) -> Result<Response<ListLimitsResponse>, Status> {
        let account = caller(&request)?.account_id()?;
        let limits = self.limits_of(account).await?;
        Ok(Response::new(ListLimitsResponse { limits }))
    }

    async fn set_account_limits(
        &self,
        request: Request<SetAccountLimitsRequest>,
    ) -> Result<Response<SetAccountLimitsResponse>, Status> {
        let operator = caller(&request)?.operator_id()?;
        let message = request.into_inner();
        let account = id("account_id", &message.account_id).map_err(|error| status(&error))?;
        let rule = rule(message.limits).map_err(|error| status(&error))?;
        let platform = self.chat.limiter.platform();
        let limits =
            limits::set_account_limits(&self.pool, operator, account, rule, platform).await;
        Ok(Response::new(SetAccountLimitsResponse {
            limits: Some(limits.map_err(|error| status(&error))?.into()),
        }))
    }

    async fn get_account_limits(
        &self,
        request: Request<GetAccountLimitsRequest>,
    ) -> Result<Response<GetAccountLimitsResponse>, Status> {
        let account = &request.get_ref().account_id;
        let account = id("account_id", account).map_err(|error| status(&error))?;
        let limits = self.limits_of(account).await?;
        Ok(Response::new(GetAccountLimitsResponse { limits }))
    }
}

impl Handlers {
    async fn limits_of(&self, account: AccountId) -> Result<Vec<SubjectLimits>, Status> {
        let platform = self.chat.limiter.platform();
        let limits = limits::list_limits(&self.pool, account, platform).await;
        let limits = limits.map_err(|error| status(&error))?;
        Ok(limits.into_iter().map(Into::into).collect())
    }
}

fn id<K>(field: &'static str, text: &str) -> Result<Id<K>, Error> {
    text.parse().map_err(|_| Error::InvalidArgument {
        field,
        problem: "is not a UUID".to_owned(),
    })
}

fn subject(subject: Option<set_limits_request::Subject>) -> Result<Subject, Error> {
    match subject {
        Some(set_limits_request::Subject::AppId(app)) => Ok(Subject::app(id("app_id", &app)?)),
        Some(set_limits_request::Subject::KeyId(key)) => Ok(Subject::key(id("key_id", &key)?)),
        None => Err(Error::InvalidArgument {
            field: "subject",
            problem: "app_id or key_id must be set".to_owned(),
        }),
    }
}

fn rule(limits: Option<Limits>) -> Result<Rule, Error> {
    let limits = limits.unwrap_or_default();
    let asked = Asked {
        requests_per_minute: limits.requests_per_minute,
        tokens_per_minute: limits.tokens_per_minute,
        concurrent_calls: limits.concurrent_calls,
        priority: limits.priority,
    };
    asked.rule()
}

impl From<limits::SubjectLimits> for SubjectLimits {
    fn from(limits: limits::SubjectLimits) -> Self {
        let number = |limit: Option<std::num::NonZeroU64>| {
            limit.map_or(0, |limit| i64::try_from(limit.get()).unwrap_or(i64::MAX))
        };
        let id = limits.subject.id.to_string();
        let held = limits.rule.limits;
        Self {
            subject: match limits.subject.level {
                Level::Account => None,
                Level::App => Some(subject_limits::Subject::AppId(id)),
                Level::Key => Some(subject_limits::Subject::KeyId(id)),
            },
            limits: Some(Limits {
                requests_per_minute: number(held.requests_per_minute),
                tokens_per_minute: number(held.tokens_per_minute),
                concurrent_calls: number(held.concurrent_calls),
                priority: Priority::number(limits.rule.priority).into(),
            }),
            change_time: limits.changed_at.map(timestamp),
        }
    }
}
