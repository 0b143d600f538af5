use chrono::{DateTime, Duration, Utc};
use futures::{StreamExt, stream::BoxStream};
use prost_types::Timestamp;
use tonic::{Request, Response, Status};
use uuid::Uuid;
use wanwu_access::caller;
use wanwu_ids::OrderId;
use wanwu_proto::{
    billing::v1::{
        ExportMoneyRequest, ExportMoneyResponse, FoundMoney, ListMoneyAccessesRequest,
        ListMoneyAccessesResponse, MoneyAccess, SearchMoneyRequest, SearchMoneyResponse, SpentOn,
        TraceMoneyRequest, TraceMoneyResponse, money_service_server::MoneyService,
        search_money_request::By, spent_on::Cause,
    },
    google::r#type::Money,
};

use super::{Handlers, id, page};
use crate::{
    commands::{Export, SearchBy},
    convert::timestamp,
    domain::{
        attribution::Part,
        money::{NANOS_PER_CNY, NANOS_PER_FEN, to_wire},
    },
    error::Error,
    store::{
        money::{Found, Spending, SpendingKind},
        money_accesses,
    },
};

/// The longest time that is exported at once.
const MAX_EXPORT: Duration = Duration::days(92);

#[tonic::async_trait]
impl MoneyService for Handlers {
    type ExportMoneyStream = BoxStream<'static, Result<ExportMoneyResponse, Status>>;

    async fn search_money(
        &self,
        request: Request<SearchMoneyRequest>,
    ) -> Result<Response<SearchMoneyResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let by = search_by(request.into_inner())?;
        let found = self.0.search_money(operator_id, &by).await?;
        Ok(Response::new(SearchMoneyResponse {
            found: found.into_iter().map(Into::into).collect(),
        }))
    }

    async fn trace_money(
        &self,
        request: Request<TraceMoneyRequest>,
    ) -> Result<Response<TraceMoneyResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let order_id: OrderId = id("order_id", &request.order_id)?;
        let page = page(request.page_size, &request.page_token)?;
        let trace = self.0.trace_money(operator_id, order_id, &page).await?;
        let parts = trace.parts.items.into_iter();
        Ok(Response::new(TraceMoneyResponse {
            credited: Some(to_wire(trace.credited)),
            spent: Some(to_wire(trace.credited - trace.left)),
            left: Some(to_wire(trace.left)),
            parts: parts.map(|(_, part)| part.into()).collect(),
            next_page_token: trace.parts.next_page_token,
        }))
    }

    async fn export_money(
        &self,
        request: Request<ExportMoneyRequest>,
    ) -> Result<Response<Self::ExportMoneyStream>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let export = export(&request.into_inner())?;
        self.0.start_export(operator_id, &export).await?;
        let app = std::sync::Arc::clone(&self.0);
        // `Some(None)`: from the beginning; `None`: the last piece is out.
        let pieces = futures::stream::try_unfold(Some(None), move |next| {
            let app = std::sync::Arc::clone(&app);
            async move {
                let Some(after) = next else {
                    return Ok(None);
                };
                let (csv, next) = app.export_piece(export, after).await?;
                Ok::<_, Status>(Some((ExportMoneyResponse { csv }, next.map(Some))))
            }
        });
        Ok(Response::new(pieces.boxed()))
    }

    async fn list_money_accesses(
        &self,
        request: Request<ListMoneyAccessesRequest>,
    ) -> Result<Response<ListMoneyAccessesResponse>, Status> {
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.money_accesses(&page).await?;
        Ok(Response::new(ListMoneyAccessesResponse {
            accesses: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}

fn search_by(request: SearchMoneyRequest) -> Result<SearchBy, Error> {
    let by = request.by;
    match by.ok_or_else(|| Error::invalid("by", "must be set"))? {
        By::Id(text) => {
            let id = Uuid::try_parse(&text);
            let id = id.map_err(|_| Error::invalid("id", "is not a UUID"))?;
            Ok(SearchBy::Id(id))
        }
        By::ProviderTransactionId(number) => {
            let sound = (1..=64).contains(&number.len())
                && number.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !sound {
                let what = "is not 1 to 64 letters and digits";
                return Err(Error::invalid("provider_transaction_id", what));
            }
            Ok(SearchBy::Number(number))
        }
        By::AmountOnDay(wanted) => {
            let fen = fen(&wanted.amount.unwrap_or_default())?;
            let day = wanted.day.parse();
            let day =
                day.map_err(|_| Error::invalid("amount_on_day.day", "is not a day as 2026-11-23"))?;
            Ok(SearchBy::AmountOnDay(fen, day))
        }
    }
}

fn fen(amount: &Money) -> Result<i64, Error> {
    let nanos = i64::from(amount.nanos);
    let sound = amount.currency_code == "CNY"
        && (0..=1_000_000_000).contains(&amount.units)
        && (0..NANOS_PER_CNY).contains(&nanos)
        && nanos % NANOS_PER_FEN == 0;
    if sound {
        Ok(amount.units * 100 + nanos / NANOS_PER_FEN)
    } else {
        Err(Error::invalid(
            "amount_on_day.amount",
            "must be whole fen in CNY",
        ))
    }
}

fn export(request: &ExportMoneyRequest) -> Result<Export, Error> {
    let begin = instant("begin_time", request.begin_time.as_ref())?;
    let end = instant("end_time", request.end_time.as_ref())?;
    if end <= begin || end - begin > MAX_EXPORT {
        let what = "must be after begin_time, at most 92 days";
        return Err(Error::invalid("end_time", what));
    }
    let account_id = match request.account_id.as_str() {
        "" => None,
        text => Some(id("account_id", text)?),
    };
    Ok(Export {
        begin,
        end,
        account_id,
    })
}

fn instant(field: &'static str, time: Option<&Timestamp>) -> Result<DateTime<Utc>, Error> {
    let read =
        |time: &Timestamp| DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?);
    time.and_then(read)
        .ok_or_else(|| Error::invalid(field, "is not an instant"))
}

impl From<Found> for FoundMoney {
    fn from(found: Found) -> Self {
        Self {
            kind: found.kind,
            id: found.id.to_string(),
            account_id: found.account_id.to_string(),
            amount: Some(to_wire(found.nanos)),
            state: found.state,
            provider_transaction_id: found.number,
            time: Some(timestamp(found.at)),
        }
    }
}

impl From<Part<Spending>> for SpentOn {
    fn from(part: Part<Spending>) -> Self {
        let spending = part.spent_on;
        let cause = spending.cause_id.to_string();
        let lease_id = spending.lease_id.map(|id| id.to_string());
        Self {
            cause: match spending.kind {
                SpendingKind::Call => Some(Cause::CallId(cause)),
                SpendingKind::Refund => Some(Cause::RefundId(cause)),
                SpendingKind::BankRecall => Some(Cause::BankMatchId(cause)),
                SpendingKind::Other => None,
            },
            lease_id: lease_id.unwrap_or_default(),
            amount: Some(to_wire(part.nanos)),
            whole: Some(to_wire(spending.nanos)),
            book_time: Some(timestamp(spending.booked_at)),
        }
    }
}

impl From<money_accesses::MoneyAccess> for MoneyAccess {
    fn from(access: money_accesses::MoneyAccess) -> Self {
        Self {
            access_id: access.access_id.to_string(),
            operator_id: access.operator_id.to_string(),
            action: access.action,
            subject: access.subject,
            access_time: Some(timestamp(access.accessed_at)),
        }
    }
}
