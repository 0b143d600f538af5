use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_proto::billing::v1::{
    AuditLedgerRequest, AuditLedgerResponse, GetBalanceRequest, GetBalanceResponse,
    GetCallBillRequest, GetCallBillResponse, ListStatementLinesRequest, ListStatementLinesResponse,
    SetBalanceAlertRequest, SetBalanceAlertResponse, balance_service_server::BalanceService,
};

use super::{Handlers, id, page};
use crate::{
    convert::{call_bill, statement_line},
    domain::money::{alert_nanos, to_wire},
    error::Error,
};

#[tonic::async_trait]
impl BalanceService for Handlers {
    async fn get_balance(
        &self,
        request: Request<GetBalanceRequest>,
    ) -> Result<Response<GetBalanceResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let (available, leased) = self.0.balance(account_id).await?;
        let packages = self.0.free_in_packages(account_id).await?;
        Ok(Response::new(GetBalanceResponse {
            available: Some(to_wire(available)),
            leased: Some(to_wire(leased)),
            packages: Some(to_wire(packages)),
            alert_below: self.0.balance_alert(account_id).await?.map(to_wire),
            credit: self.0.credit_of(account_id).await?.map(Into::into),
        }))
    }

    async fn set_balance_alert(
        &self,
        request: Request<SetBalanceAlertRequest>,
    ) -> Result<Response<SetBalanceAlertResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let below = request.get_ref().below.as_ref().map(alert_nanos);
        let below = below
            .transpose()
            .map_err(|error| Error::invalid("below", error.to_string()))?;
        self.0.set_balance_alert(account_id, below).await?;
        Ok(Response::new(SetBalanceAlertResponse {}))
    }

    async fn list_statement_lines(
        &self,
        request: Request<ListStatementLinesRequest>,
    ) -> Result<Response<ListStatementLinesResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.statement(account_id, &page).await?;
        Ok(Response::new(ListStatementLinesResponse {
            lines: page.items.into_iter().map(statement_line).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn get_call_bill(
        &self,
        request: Request<GetCallBillRequest>,
    ) -> Result<Response<GetCallBillResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let call_id = id("call_id", &request.get_ref().call_id)?;
        let (call, charges) = self.0.call_bill(account_id, call_id).await?;
        Ok(Response::new(GetCallBillResponse {
            bill: Some(call_bill(call, &charges)),
        }))
    }

    async fn audit_ledger(
        &self,
        _: Request<AuditLedgerRequest>,
    ) -> Result<Response<AuditLedgerResponse>, Status> {
        let audit = self.0.audit_ledger().await?;
        Ok(Response::new(AuditLedgerResponse {
            entries_sum: audit.entries_sum,
            unbalanced_transfers: audit.unbalanced_transfers,
            wrong_balances: audit.wrong_balances,
            entries: audit.entries,
        }))
    }
}
