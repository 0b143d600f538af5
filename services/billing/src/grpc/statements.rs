use std::sync::Arc;

use chrono::NaiveDate;
use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_proto::billing::v1::{
    self as pb, GetStatementRequest, GetStatementResponse, ListStatementsRequest,
    ListStatementsResponse, statement_service_server::StatementService,
};

use super::page;
use crate::{
    convert::timestamp,
    domain::{calendar, money::to_wire},
    error::Error,
    statement_desk::StatementDesk,
    store::statements::Statement,
};

/// Answers the service of statements.
#[derive(Clone)]
pub struct StatementHandlers(pub Arc<StatementDesk>);

fn month(text: &str) -> Result<NaiveDate, Error> {
    calendar::parse(&format!("{text}-01"))
        .ok_or_else(|| Error::invalid("month", "is not a month such as 2026-11"))
}

#[tonic::async_trait]
impl StatementService for StatementHandlers {
    async fn list_statements(
        &self,
        request: Request<ListStatementsRequest>,
    ) -> Result<Response<ListStatementsResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.list(account_id, &page).await?;
        let statements = page.items.into_iter().map(|one| self.on_wire(one));
        Ok(Response::new(ListStatementsResponse {
            statements: statements.collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn get_statement(
        &self,
        request: Request<GetStatementRequest>,
    ) -> Result<Response<GetStatementResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let month = month(&request.month)?;
        let (statement, content) = self.0.read(account_id, month, request.part).await?;
        Ok(Response::new(GetStatementResponse {
            statement: Some(self.on_wire(statement)),
            content,
        }))
    }
}

impl StatementHandlers {
    fn on_wire(&self, statement: Statement) -> pb::Statement {
        pb::Statement {
            month: statement.month.format("%Y-%m").to_string(),
            opening: Some(to_wire(statement.opening_nanos)),
            closing: Some(to_wire(statement.closing_nanos)),
            lines: statement.lines,
            size: statement.size,
            parts: statement.parts,
            sha256: statement.sha256,
            signature: statement.signature,
            public_key: self.0.public_key(&statement.key_id),
            key_id: statement.key_id,
            create_time: Some(timestamp(statement.made_at)),
        }
    }
}
