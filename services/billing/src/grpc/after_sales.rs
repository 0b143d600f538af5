use std::sync::Arc;

use tonic::{Request, Response, Status};
use uuid::Uuid;
use wanwu_access::caller;
use wanwu_proto::billing::v1::{
    AfterSalesCase, AfterSalesKind, AnswerAfterSalesCaseRequest, AnswerAfterSalesCaseResponse,
    ListAfterSalesCasesRequest, ListAfterSalesCasesResponse, ListOpenAfterSalesCasesRequest,
    ListOpenAfterSalesCasesResponse, OpenAfterSalesCaseRequest, OpenAfterSalesCaseResponse,
    after_sales_service_server::AfterSalesService,
};

use super::{id, page};
use crate::{
    convert::timestamp,
    error::Error,
    order_desk::{About, OpenCase, OpenedCase, OrderDesk},
};

/// The longest text, in characters.
const MAX_WORDS: usize = 1000;

/// Answers the service of questions about purchases.
#[derive(Clone)]
pub struct AfterSalesHandlers(pub Arc<OrderDesk>);

#[tonic::async_trait]
impl AfterSalesService for AfterSalesHandlers {
    async fn open_after_sales_case(
        &self,
        request: Request<OpenAfterSalesCaseRequest>,
    ) -> Result<Response<OpenAfterSalesCaseResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let body = self.0.app.body_key.mac(&request);
        let kind = kind(request.kind())?;
        let about = match (request.order_id.as_str(), request.product_id) {
            ("", product) if !product.is_empty() && product.len() <= 60 => About::Product(product),
            (order, product) if product.is_empty() => About::Order(id("order_id", order)?),
            _ => return Err(Error::invalid("order_id", "or product_id: one of them").into()),
        };
        let command = OpenCase {
            account_id,
            request_id: id("request_id", &request.request_id)?,
            body,
            about,
            kind,
            words: words("words", &request.words)?,
        };
        let opened = self.0.open_case(command).await?;
        Ok(Response::new(OpenAfterSalesCaseResponse {
            case: Some(opened.into()),
        }))
    }

    async fn list_after_sales_cases(
        &self,
        request: Request<ListAfterSalesCasesRequest>,
    ) -> Result<Response<ListAfterSalesCasesResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.cases(account_id, &page).await?;
        Ok(Response::new(ListAfterSalesCasesResponse {
            cases: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_open_after_sales_cases(
        &self,
        request: Request<ListOpenAfterSalesCasesRequest>,
    ) -> Result<Response<ListOpenAfterSalesCasesResponse>, Status> {
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.open_cases(&page).await?;
        Ok(Response::new(ListOpenAfterSalesCasesResponse {
            cases: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn answer_after_sales_case(
        &self,
        request: Request<AnswerAfterSalesCaseRequest>,
    ) -> Result<Response<AnswerAfterSalesCaseResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let case_id = id::<Uuid>("case_id", &request.case_id)?;
        let answer = words("answer", &request.answer)?;
        let answered = self.0.answer_case(operator_id, case_id, answer).await?;
        Ok(Response::new(AnswerAfterSalesCaseResponse {
            case: Some(answered.into()),
        }))
    }
}

fn kind(kind: AfterSalesKind) -> Result<&'static str, Error> {
    match kind {
        AfterSalesKind::Unspecified => Err(Error::invalid("kind", "is not known")),
        AfterSalesKind::Question => Ok("question"),
        AfterSalesKind::NotProvided => Ok("not_provided"),
        AfterSalesKind::Defect => Ok("defect"),
    }
}

fn words(field: &'static str, text: &str) -> Result<String, Error> {
    let text = text.trim();
    let sound = text.len() <= 4 * MAX_WORDS && (1..=MAX_WORDS).contains(&text.chars().count());
    if sound {
        Ok(text.to_owned())
    } else {
        Err(Error::invalid(field, "must have 1 to 1000 characters"))
    }
}

impl From<OpenedCase> for AfterSalesCase {
    fn from(opened: OpenedCase) -> Self {
        let case = opened.case;
        let kind = match case.kind.as_str() {
            "not_provided" => AfterSalesKind::NotProvided,
            "defect" => AfterSalesKind::Defect,
            _ => AfterSalesKind::Question,
        };
        Self {
            case_id: case.case_id.to_string(),
            order_id: case.order_id.map(|id| id.to_string()).unwrap_or_default(),
            product_id: case.product_id.unwrap_or_default(),
            kind: kind.into(),
            words: opened.words,
            answer: opened.answer.unwrap_or_default(),
            open_time: Some(timestamp(case.opened_at)),
            answer_time: case.answered_at.map(timestamp),
        }
    }
}
