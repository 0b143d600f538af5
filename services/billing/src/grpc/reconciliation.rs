use chrono::NaiveDate;
use tonic::{Request, Response, Status};
use uuid::Uuid;
use wanwu_access::caller;
use wanwu_proto::billing::v1::{
    self as pb, FetchProviderBillRequest, FetchProviderBillResponse, ImportProviderBillRequest,
    ImportProviderBillResponse, ListProviderBillsRequest, ListProviderBillsResponse,
    ListReconciliationCasesRequest, ListReconciliationCasesResponse, ProviderBillLine,
    ReconciliationCase, ReconciliationDifference, ResolveReconciliationCaseRequest,
    ResolveReconciliationCaseResponse, reconciliation_service_server::ReconciliationService,
};

use super::{Handlers, id, page};
use crate::{
    commands::ReconcileBill,
    convert::timestamp,
    domain::{
        payment::Provider,
        provider_bill::china_date,
        reconciliation::{Kind, Payment},
    },
    error::Error,
    store::{provider_bills::ProviderBill, reconciliation::Case},
};

/// Most lines of one bill.
const MAX_LINES: usize = 20_000;
/// Longest resolution, in characters.
const MAX_RESOLUTION: usize = 500;

#[tonic::async_trait]
impl ReconciliationService for Handlers {
    async fn import_provider_bill(
        &self,
        request: Request<ImportProviderBillRequest>,
    ) -> Result<Response<ImportProviderBillResponse>, Status> {
        let command = parse(request.into_inner())?;
        let reconciled = self.0.reconcile_bill(&command).await?;
        Ok(Response::new(ImportProviderBillResponse {
            agreed: i64::try_from(reconciled.agreed).unwrap_or(i64::MAX),
            differences: i64::try_from(reconciled.differences).unwrap_or(i64::MAX),
            opened: i64::try_from(reconciled.opened).unwrap_or(i64::MAX),
        }))
    }

    async fn fetch_provider_bill(
        &self,
        request: Request<FetchProviderBillRequest>,
    ) -> Result<Response<FetchProviderBillResponse>, Status> {
        let request = request.into_inner();
        let provider = Provider::from_stored(&request.provider);
        let provider = provider.ok_or_else(|| Error::invalid("provider", "is not known"))?;
        let day = day(&request.day)?;
        if day > china_date(self.0.now()) {
            return Err(Error::invalid("day", "is in the future").into());
        }
        let reconciled = self.0.fetch_bill(provider, day).await?;
        Ok(Response::new(FetchProviderBillResponse {
            agreed: i64::try_from(reconciled.agreed).unwrap_or(i64::MAX),
            differences: i64::try_from(reconciled.differences).unwrap_or(i64::MAX),
            opened: i64::try_from(reconciled.opened).unwrap_or(i64::MAX),
        }))
    }

    async fn list_provider_bills(
        &self,
        request: Request<ListProviderBillsRequest>,
    ) -> Result<Response<ListProviderBillsResponse>, Status> {
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.provider_bills(&page).await?;
        Ok(Response::new(ListProviderBillsResponse {
            bills: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_reconciliation_cases(
        &self,
        request: Request<ListReconciliationCasesRequest>,
    ) -> Result<Response<ListReconciliationCasesResponse>, Status> {
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self
            .0
            .reconciliation_cases(request.open_only, &page)
            .await?;
        Ok(Response::new(ListReconciliationCasesResponse {
            cases: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn resolve_reconciliation_case(
        &self,
        request: Request<ResolveReconciliationCaseRequest>,
    ) -> Result<Response<ResolveReconciliationCaseResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let case_id = id::<Uuid>("case_id", &request.case_id)?;
        let resolution = request.resolution.trim();
        if !(1..=MAX_RESOLUTION).contains(&resolution.chars().count()) {
            return Err(Error::invalid("resolution", "must have 1 to 500 characters").into());
        }
        let case = self
            .0
            .resolve_reconciliation_case(operator_id, case_id, resolution)
            .await?;
        Ok(Response::new(ResolveReconciliationCaseResponse {
            case: Some(case.into()),
        }))
    }
}

fn parse(request: ImportProviderBillRequest) -> Result<ReconcileBill, Error> {
    if !["wechat", "alipay"].contains(&request.provider.as_str()) {
        return Err(Error::invalid("provider", "is not known"));
    }
    if request.lines.len() > MAX_LINES {
        return Err(Error::invalid("lines", "are more than 20000"));
    }
    let day = day(&request.day)?;
    let lines = request.lines.into_iter().map(line);
    Ok(ReconcileBill {
        provider: request.provider,
        day,
        lines: lines.collect::<Result<_, _>>()?,
    })
}

fn day(text: &str) -> Result<NaiveDate, Error> {
    text.parse()
        .map_err(|_| Error::invalid("day", "is not a day as 2026-11-23"))
}

fn line(line: ProviderBillLine) -> Result<Payment, Error> {
    if !(1..=64).contains(&line.provider_transaction_id.len()) {
        let what = "must have 1 to 64 characters";
        return Err(Error::invalid("lines.provider_transaction_id", what));
    }
    if line.amount_fen <= 0 {
        return Err(Error::invalid("lines.amount_fen", "must be above zero"));
    }
    Ok(Payment {
        transaction: line.provider_transaction_id,
        order: Uuid::try_parse(&line.order_number).ok(),
        fen: line.amount_fen,
    })
}

impl From<ProviderBill> for pb::ProviderBill {
    fn from(bill: ProviderBill) -> Self {
        Self {
            provider: bill.provider.as_str().to_owned(),
            day: bill.day.to_string(),
            compare_time: bill.compared_at.map(timestamp),
            lines: bill.lines,
            agreed: bill.agreed,
            differences: bill.differences,
            tries: bill.tries,
        }
    }
}

impl From<Case> for ReconciliationCase {
    fn from(case: Case) -> Self {
        let difference = case.difference;
        Self {
            case_id: case.case_id.to_string(),
            provider: case.provider,
            day: case.day.to_string(),
            provider_transaction_id: difference.transaction,
            difference: ReconciliationDifference::from(difference.kind).into(),
            billed_fen: difference.billed_fen,
            booked_fen: difference.booked_fen,
            open_time: Some(timestamp(case.opened_at)),
            resolve_time: case.resolved_at.map(timestamp),
            resolution: case.resolution.unwrap_or_default(),
        }
    }
}

impl From<Kind> for pb::ReconciliationDifference {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::NotBooked => Self::NotBooked,
            Kind::NotBilled => Self::NotBilled,
            Kind::Amount => Self::Amount,
            Kind::Order => Self::Order,
            Kind::BilledTwice => Self::BilledTwice,
        }
    }
}
