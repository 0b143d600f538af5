use chrono::{Datelike, NaiveDate};
use tonic::{Request, Response, Status};
use uuid::Uuid;
use wanwu_access::caller;
use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::{
    self as pb, ListUsageRequest, ListUsageResponse, UsageDimension,
    usage_service_server::UsageService,
};

use super::{Handlers, id, page};
use crate::{
    domain::{calendar, money::to_wire},
    error::Error,
    store::usage_days::{Question, Usage},
};

/// Most days of one question.
const MAX_DAYS: i64 = 366;

fn day(field: &'static str, text: &str) -> Result<NaiveDate, Error> {
    calendar::parse(text).ok_or_else(|| Error::invalid(field, "is not a day such as 2026-11-01"))
}

fn question(account_id: AccountId, request: &ListUsageRequest) -> Result<Question, Error> {
    let first = day("first_day", &request.first_day)?;
    let last = day("last_day", &request.last_day)?;
    let days = i64::from(last.num_days_from_ce()) - i64::from(first.num_days_from_ce()) + 1;
    if !(1..=MAX_DAYS).contains(&days) {
        return Err(Error::invalid("last_day", "must be 0 to 365 days later"));
    }
    let by = |dimension| request.group_by().any(|asked| asked == dimension);
    if by(UsageDimension::Unspecified) || request.group_by.len() > 4 {
        return Err(Error::invalid("group_by", "is not known"));
    }
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok(Question {
        account_id,
        first,
        last,
        app_id: some(&request.app_id)
            .map(|text| id("app_id", &text))
            .transpose()?,
        key_id: some(&request.key_id)
            .map(|text| id("key_id", &text))
            .transpose()?,
        model: some(&request.model),
        by_day: by(UsageDimension::Day),
        by_model: by(UsageDimension::Model),
        by_app: by(UsageDimension::App),
        by_key: by(UsageDimension::Key),
    })
}

#[tonic::async_trait]
impl UsageService for Handlers {
    async fn list_usage(
        &self,
        request: Request<ListUsageRequest>,
    ) -> Result<Response<ListUsageResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let question = question(account_id, &request)?;
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.usage(&question, &page).await?;
        let usage = page
            .items
            .into_iter()
            .map(|usage| on_wire(&question, usage));
        Ok(Response::new(ListUsageResponse {
            usage: usage.collect(),
            next_page_token: page.next_page_token,
        }))
    }
}

fn on_wire(question: &Question, usage: Usage) -> pb::Usage {
    let when = |is: bool, text: String| if is { text } else { String::new() };
    let id = |id: Uuid| id.to_string();
    pb::Usage {
        day: when(question.by_day, usage.day.to_string()),
        model: usage.model,
        app_id: when(question.by_app, id(usage.app_id)),
        key_id: when(question.by_key, id(usage.key_id)),
        calls: usage.calls,
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        amount: Some(to_wire(usage.amount_nanos)),
    }
}
