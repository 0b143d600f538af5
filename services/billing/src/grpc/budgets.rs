use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_proto::billing::v1::{
    Budget, BudgetPeriod, ListBudgetsRequest, ListBudgetsResponse, SetBudgetRequest,
    SetBudgetResponse, budget, budget_service_server::BudgetService, set_budget_request,
};

use super::{Handlers, id};
use crate::{
    commands::BudgetNow,
    convert::timestamp,
    domain::{
        budget::{Period, Subject},
        money::{budget_nanos, to_wire},
    },
    error::Error,
};

fn subject(request: &SetBudgetRequest) -> Result<Subject, Error> {
    match &request.subject {
        Some(set_budget_request::Subject::AppId(text)) => Ok(Subject::App(id("app_id", text)?)),
        Some(set_budget_request::Subject::KeyId(text)) => Ok(Subject::Key(id("key_id", text)?)),
        None => Err(Error::invalid("subject", "app_id or key_id must be set")),
    }
}

fn amount(request: &SetBudgetRequest) -> Result<Option<(i64, Period)>, Error> {
    let Some(amount) = &request.amount else {
        return Ok(None);
    };
    let nanos =
        budget_nanos(amount).map_err(|error| Error::invalid("amount", error.to_string()))?;
    let period = match request.period() {
        BudgetPeriod::Month => Period::Month,
        BudgetPeriod::Total => Period::Total,
        BudgetPeriod::Unspecified => return Err(Error::invalid("period", "must be set")),
    };
    Ok(Some((nanos, period)))
}

#[tonic::async_trait]
impl BudgetService for Handlers {
    async fn set_budget(
        &self,
        request: Request<SetBudgetRequest>,
    ) -> Result<Response<SetBudgetResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let (subject, amount) = (subject(&request)?, amount(&request)?);
        let budget = self.0.set_budget(account_id, subject, amount).await?;
        Ok(Response::new(SetBudgetResponse {
            budget: budget.map(Into::into),
        }))
    }

    async fn list_budgets(
        &self,
        request: Request<ListBudgetsRequest>,
    ) -> Result<Response<ListBudgetsResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let budgets = self.0.budgets(account_id).await?;
        Ok(Response::new(ListBudgetsResponse {
            budgets: budgets.into_iter().map(Into::into).collect(),
        }))
    }
}

impl From<BudgetNow> for Budget {
    fn from(now: BudgetNow) -> Self {
        let budget = now.budget;
        Self {
            amount: Some(to_wire(budget.amount)),
            period: match budget.period {
                Period::Month => BudgetPeriod::Month,
                Period::Total => BudgetPeriod::Total,
            }
            .into(),
            spent: Some(to_wire(now.used.spent)),
            leased: Some(to_wire(now.used.leased)),
            first_day: now.counts_from.to_string(),
            change_time: Some(timestamp(now.changed_at)),
            subject: Some(match budget.subject {
                Subject::App(id) => budget::Subject::AppId(id.to_string()),
                Subject::Key(id) => budget::Subject::KeyId(id.to_string()),
            }),
        }
    }
}
