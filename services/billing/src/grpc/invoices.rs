use std::sync::Arc;

use tonic::{Request, Response, Status};
use uuid::Uuid;
use wanwu_access::caller;
use wanwu_proto::billing::v1::{
    self as pb, GetInvoiceBuyerRequest, GetInvoiceBuyerResponse, InvoiceKind, IssueInvoiceRequest,
    IssueInvoiceResponse, ListInvoicesRequest, ListInvoicesResponse, ListOpenInvoicesRequest,
    ListOpenInvoicesResponse, RefuseInvoiceRequest, RefuseInvoiceResponse, RequestInvoiceRequest,
    RequestInvoiceResponse, ReverseInvoiceRequest, ReverseInvoiceResponse, WithdrawInvoiceRequest,
    WithdrawInvoiceResponse, invoice_service_server::InvoiceService,
};

use super::{id, page};
use crate::{
    convert::timestamp,
    domain::{
        invoice::Kind,
        money::{NANOS_PER_FEN, to_wire, top_up_fen},
    },
    error::Error,
    order_desk::{Buyer, OrderDesk, RequestInvoice},
    store::invoices::Invoice,
};

/// Answers the service of invoices.
#[derive(Clone)]
pub struct InvoiceHandlers(pub Arc<OrderDesk>);

#[tonic::async_trait]
impl InvoiceService for InvoiceHandlers {
    async fn request_invoice(
        &self,
        request: Request<RequestInvoiceRequest>,
    ) -> Result<Response<RequestInvoiceResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let amount = request.amount.clone().unwrap_or_default();
        let kind = Kind::from_wire(request.kind());
        let kind = kind.ok_or_else(|| Error::invalid("kind", "is not known"))?;
        let buyer = request.buyer.clone().unwrap_or_default();
        let command = RequestInvoice {
            account_id,
            request_id: id("request_id", &request.request_id)?,
            body: self.0.app.body_key.mac(&request),
            order_id: id("order_id", &request.order_id)?,
            kind,
            amount_fen: top_up_fen(&amount)
                .map_err(|error| Error::invalid("amount", error.to_string()))?,
            buyer: Buyer::parse(kind, &buyer)?,
        };
        let invoice = self.0.request_invoice(command).await?;
        Ok(Response::new(RequestInvoiceResponse {
            invoice: Some(invoice.into()),
        }))
    }

    async fn withdraw_invoice(
        &self,
        request: Request<WithdrawInvoiceRequest>,
    ) -> Result<Response<WithdrawInvoiceResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let id = id::<Uuid>("invoice_id", &request.get_ref().invoice_id)?;
        let invoice = self.0.withdraw_invoice(account_id, id).await?;
        Ok(Response::new(WithdrawInvoiceResponse {
            invoice: Some(invoice.into()),
        }))
    }

    async fn list_invoices(
        &self,
        request: Request<ListInvoicesRequest>,
    ) -> Result<Response<ListInvoicesResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.invoices(account_id, &page).await?;
        Ok(Response::new(ListInvoicesResponse {
            invoices: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_open_invoices(
        &self,
        request: Request<ListOpenInvoicesRequest>,
    ) -> Result<Response<ListOpenInvoicesResponse>, Status> {
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.open_invoices(&page).await?;
        Ok(Response::new(ListOpenInvoicesResponse {
            invoices: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn get_invoice_buyer(
        &self,
        request: Request<GetInvoiceBuyerRequest>,
    ) -> Result<Response<GetInvoiceBuyerResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let id = id::<Uuid>("invoice_id", &request.get_ref().invoice_id)?;
        let buyer = self.0.invoice_buyer(operator_id, id).await?;
        Ok(Response::new(GetInvoiceBuyerResponse {
            buyer: Some(buyer.into()),
        }))
    }

    async fn issue_invoice(
        &self,
        request: Request<IssueInvoiceRequest>,
    ) -> Result<Response<IssueInvoiceResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let id = id::<Uuid>("invoice_id", &request.invoice_id)?;
        let number = number("number", request.number)?;
        let invoice = self.0.issue_invoice(operator_id, id, number).await?;
        Ok(Response::new(IssueInvoiceResponse {
            invoice: Some(invoice.into()),
        }))
    }

    async fn refuse_invoice(
        &self,
        request: Request<RefuseInvoiceRequest>,
    ) -> Result<Response<RefuseInvoiceResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let id = id::<Uuid>("invoice_id", &request.get_ref().invoice_id)?;
        let invoice = self.0.refuse_invoice(operator_id, id).await?;
        Ok(Response::new(RefuseInvoiceResponse {
            invoice: Some(invoice.into()),
        }))
    }

    async fn reverse_invoice(
        &self,
        request: Request<ReverseInvoiceRequest>,
    ) -> Result<Response<ReverseInvoiceResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let id = id::<Uuid>("invoice_id", &request.invoice_id)?;
        let number = number("red_number", request.red_number)?;
        let invoice = self.0.reverse_invoice(operator_id, id, number).await?;
        Ok(Response::new(ReverseInvoiceResponse {
            invoice: Some(invoice.into()),
        }))
    }
}

/// Of a fapiao: 8 digits on paper, 20 digits when it is fully digital.
fn number(field: &'static str, text: String) -> Result<String, Error> {
    if (8..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text)
    } else {
        Err(Error::invalid(field, "must be 8 to 20 digits"))
    }
}

impl From<Invoice> for pb::Invoice {
    fn from(invoice: Invoice) -> Self {
        Self {
            invoice_id: invoice.invoice_id.to_string(),
            order_id: invoice.order_id.to_string(),
            kind: InvoiceKind::from(invoice.kind).into(),
            amount: Some(to_wire(invoice.amount_fen * NANOS_PER_FEN)),
            state: pb::InvoiceState::from(invoice.state).into(),
            number: invoice.number.unwrap_or_default(),
            red_number: invoice.red_number.unwrap_or_default(),
            request_time: Some(timestamp(invoice.requested_at)),
            issue_time: invoice.issued_at.map(timestamp),
        }
    }
}
