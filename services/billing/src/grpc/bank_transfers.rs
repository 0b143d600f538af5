use std::sync::Arc;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use tonic::{Request, Response, Status};
use uuid::Uuid;
use wanwu_access::caller;
use wanwu_ids::AccountId;
use wanwu_personal::{BankAccountName, BankAccountNumber};
use wanwu_proto::billing::v1::{
    self as pb, BankStatementFormat, BankTransferState, DeclareBankTransferRequest,
    DeclareBankTransferResponse, ImportBankStatementRequest, ImportBankStatementResponse,
    ListBankTransfersRequest, ListBankTransfersResponse, ListUnmatchedBankLinesRequest,
    ListUnmatchedBankLinesResponse, MatchBankLineRequest, MatchBankLineResponse,
    bank_transfer_service_server::BankTransferService,
};

use super::{id, orders::buyer, page};
use crate::{
    bank_desk::{BankDesk, Declare},
    convert::timestamp,
    domain::{
        bank_statement::{read_camt053, read_csv},
        money::{NANOS_PER_FEN, to_wire, top_up_fen},
        purchase::Buyer,
    },
    error::Error,
    store::{bank_lines::BankLine, bank_transfers::BankTransfer},
};

/// Answers the service of bank transfers.
#[derive(Clone)]
pub struct BankHandlers(pub Arc<BankDesk>);

#[tonic::async_trait]
impl BankTransferService for BankHandlers {
    async fn declare_bank_transfer(
        &self,
        request: Request<DeclareBankTransferRequest>,
    ) -> Result<Response<DeclareBankTransferResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let buyer = buyer(&request)?;
        let declare = self.parse(account_id, buyer, request.get_ref())?;
        let transfer = self.0.declare(declare).await?;
        Ok(Response::new(DeclareBankTransferResponse {
            bank_transfer: Some(transfer.into()),
        }))
    }

    async fn list_bank_transfers(
        &self,
        request: Request<ListBankTransfersRequest>,
    ) -> Result<Response<ListBankTransfersResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.transfers(account_id, &page).await?;
        Ok(Response::new(ListBankTransfersResponse {
            bank_transfers: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn import_bank_statement(
        &self,
        request: Request<ImportBankStatementRequest>,
    ) -> Result<Response<ImportBankStatementResponse>, Status> {
        let request = request.into_inner();
        let lines = match request.format() {
            BankStatementFormat::Csv => read_csv(&request.content),
            BankStatementFormat::Camt053 => read_camt053(&request.content),
            BankStatementFormat::Unspecified => {
                return Err(Error::invalid("format", "is not known").into());
            }
        };
        let lines = lines.map_err(|error| Error::invalid("content", error.to_string()))?;
        let imported = self.0.import(&lines).await?;
        Ok(Response::new(ImportBankStatementResponse {
            new_lines: imported.new,
            known_lines: imported.known,
            matched_lines: imported.matched,
            reversals: imported.reversals,
        }))
    }

    async fn list_unmatched_bank_lines(
        &self,
        request: Request<ListUnmatchedBankLinesRequest>,
    ) -> Result<Response<ListUnmatchedBankLinesResponse>, Status> {
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.unmatched(&page).await?;
        Ok(Response::new(ListUnmatchedBankLinesResponse {
            lines: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn match_bank_line(
        &self,
        request: Request<MatchBankLineRequest>,
    ) -> Result<Response<MatchBankLineResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let line = id::<Uuid>("bank_line_id", &request.bank_line_id)?;
        let transfer = id::<Uuid>("bank_transfer_id", &request.bank_transfer_id)?;
        let transfer = self.0.match_line(operator_id, line, transfer).await?;
        Ok(Response::new(MatchBankLineResponse {
            bank_transfer: Some(transfer.into()),
        }))
    }
}

impl BankHandlers {
    fn parse(
        &self,
        account_id: AccountId,
        buyer: Buyer,
        request: &DeclareBankTransferRequest,
    ) -> Result<Declare, Error> {
        let bank_name = request.bank_name.trim();
        if bank_name.len() > 240
            || !(2..=60).contains(&bank_name.chars().count())
            || bank_name.chars().any(char::is_control)
        {
            return Err(Error::invalid("bank_name", "must have 2 to 60 characters"));
        }
        let number = BankAccountNumber::parse(&request.account_number);
        let name = BankAccountName::parse(&request.account_name);
        let amount = request.amount.clone().unwrap_or_default();
        Ok(Declare {
            account_id,
            request_id: id("request_id", &request.request_id)?,
            body: self.0.app.body_key.mac(request),
            bank_name: bank_name.to_owned(),
            number: number.map_err(|e| Error::invalid("account_number", e.to_string()))?,
            name: name.map_err(|e| Error::invalid("account_name", e.to_string()))?,
            amount_fen: top_up_fen(&amount)
                .map_err(|error| Error::invalid("amount", error.to_string()))?,
            transfer_at: instant(request.transfer_time.as_ref())?,
            buyer,
        })
    }
}

fn instant(time: Option<&Timestamp>) -> Result<DateTime<Utc>, Error> {
    time.and_then(|time| DateTime::from_timestamp(time.seconds, 0))
        .ok_or_else(|| Error::invalid("transfer_time", "is not a time"))
}

/// "****" and the last four characters; empty where nothing is known.
fn masked(last4: &str) -> String {
    if last4.is_empty() {
        String::new()
    } else {
        format!("****{last4}")
    }
}

impl From<BankTransfer> for pb::BankTransfer {
    fn from(transfer: BankTransfer) -> Self {
        let state = match transfer.credited_fen {
            0 => BankTransferState::Declared,
            fen if fen < transfer.amount_fen => BankTransferState::Partial,
            _ => BankTransferState::Received,
        };
        Self {
            bank_transfer_id: transfer.bank_transfer_id.to_string(),
            reference: transfer.reference,
            bank_name: transfer.bank_name,
            masked_account_number: masked(&transfer.account_number_last4),
            amount: Some(to_wire(transfer.amount_fen * NANOS_PER_FEN)),
            credited: Some(to_wire(transfer.credited_fen * NANOS_PER_FEN)),
            state: state.into(),
            transfer_time: Some(timestamp(transfer.transfer_at)),
            create_time: Some(timestamp(transfer.created_at)),
            purchase_allowance_version: transfer.allowance_version.unwrap_or_default(),
        }
    }
}

impl From<BankLine> for pb::BankLine {
    fn from(line: BankLine) -> Self {
        let unmatched = line.amount_fen - line.matched_fen;
        Self {
            bank_line_id: line.bank_line_id.to_string(),
            serial: line.serial,
            amount: Some(to_wire(line.amount_fen * NANOS_PER_FEN)),
            unmatched: Some(to_wire(unmatched * NANOS_PER_FEN)),
            masked_account_number: masked(&line.account_number_last4),
            reference: line.reference,
            book_time: Some(timestamp(line.booked_at)),
        }
    }
}
