use sqlx::PgConnection;
use uuid::Uuid;
use wanwu_ids::{AccountId, OperatorId, OrderId, RequestId};
use wanwu_postgres::{
    page::{Page, PageRequest},
    requests::{self, BodyMac, Claim, RequestKey},
};

use super::{OrderDesk, aad};
use crate::{
    error::Error,
    store::{
        after_sales::{self, Case},
        orders, products,
    },
};

const TABLE: &str = "after_sales_cases";

/// What a question is about.
pub enum About {
    /// An order of whoever asks.
    Order(OrderId),
    /// A product of the catalogue.
    Product(String),
}

/// A customer asks something about a purchase.
pub struct OpenCase {
    /// Who.
    pub account_id: AccountId,
    /// Names the request, for ever.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// About what.
    pub about: About,
    /// `question`, `not_provided`, `defect`.
    pub kind: &'static str,
    /// What they wrote.
    pub words: String,
}

/// A case with what was written.
pub struct OpenedCase {
    /// The case.
    pub case: Case,
    /// What the customer wrote.
    pub words: String,
    /// The answer.
    pub answer: Option<String>,
}

impl OrderDesk {
    /// Writes a question (obligations T3.3.5, P2.1.1d.3).
    pub async fn open_case(&self, command: OpenCase) -> Result<OpenedCase, Error> {
        let now = self.app.now();
        let id: Uuid = self.app.ids.id::<()>().uuid();
        let mut tx = self.app.pool.begin().await?;
        let caller = format!("account:{}", command.account_id);
        let key = RequestKey {
            method: "wanwu.billing.v1.AfterSalesService/OpenAfterSalesCase",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        if let Claim::Repeated(made) =
            requests::claim(&mut tx, key, command.body, id, now, None).await?
        {
            let case = after_sales::lock(&mut tx, made).await?;
            return self.opened(&mut tx, case.ok_or(Error::NotFound)?).await;
        }
        let (order_id, product_id) = match command.about {
            About::Order(id) => {
                let order = orders::find(&mut tx, id).await?;
                let order = order.filter(|order| order.account_id == command.account_id);
                (Some(order.ok_or(Error::NotFound)?.order_id), None)
            }
            About::Product(id) => {
                let catalogue = products::catalogue_at(&mut tx, now).await?;
                let known = catalogue.is_some_and(|catalogue| catalogue.product(&id).is_some());
                (None, Some(known.then_some(id).ok_or(Error::NotFound)?))
            }
        };
        let row = id.to_string();
        let aad = aad(TABLE, "words", &row);
        let words_sealed = self
            .seal(&mut tx, command.account_id, aad, &command.words)
            .await?;
        let case = Case {
            case_id: id,
            account_id: command.account_id,
            order_id,
            product_id,
            kind: command.kind.to_owned(),
            words_sealed,
            answer_sealed: None,
            opened_at: now,
            answered_at: None,
            answered_by: None,
        };
        after_sales::insert(&mut tx, &case).await?;
        tx.commit().await?;
        Ok(OpenedCase {
            case,
            words: command.words,
            answer: None,
        })
    }

    /// An operator answers, once; the same words again change nothing.
    pub async fn answer_case(
        &self,
        operator_id: OperatorId,
        id: Uuid,
        answer: String,
    ) -> Result<OpenedCase, Error> {
        let mut tx = self.app.pool.begin().await?;
        let case = after_sales::lock(&mut tx, id).await?;
        let opened = self.opened(&mut tx, case.ok_or(Error::NotFound)?).await?;
        match &opened.answer {
            Some(before) if *before == answer => return Ok(opened),
            Some(_) => return Err(Error::CaseResolved),
            None => {}
        }
        let OpenedCase {
            mut case, words, ..
        } = opened;
        let row = id.to_string();
        let aad = aad(TABLE, "answer", &row);
        case.answer_sealed = Some(self.seal(&mut tx, case.account_id, aad, &answer).await?);
        case.answered_at = Some(self.app.now());
        case.answered_by = Some(operator_id);
        after_sales::answer(&mut tx, &case).await?;
        tx.commit().await?;
        Ok(OpenedCase {
            case,
            words,
            answer: Some(answer),
        })
    }

    /// The account's cases, newest first.
    pub async fn cases(
        &self,
        account_id: AccountId,
        page: &PageRequest<Uuid>,
    ) -> Result<Page<OpenedCase>, Error> {
        let mut connection = self.app.pool.acquire().await?;
        let rows = after_sales::list(&mut connection, account_id, page.after, page.limit()).await?;
        self.page(&mut connection, page, rows).await
    }

    /// Cases without an answer, oldest first.
    pub async fn open_cases(&self, page: &PageRequest<Uuid>) -> Result<Page<OpenedCase>, Error> {
        let mut connection = self.app.pool.acquire().await?;
        let rows = after_sales::open(&mut connection, page.after, page.limit()).await?;
        self.page(&mut connection, page, rows).await
    }

    async fn page(
        &self,
        connection: &mut PgConnection,
        page: &PageRequest<Uuid>,
        rows: Vec<Case>,
    ) -> Result<Page<OpenedCase>, Error> {
        let page = page.page(rows, |case| case.case_id);
        let mut items = Vec::with_capacity(page.items.len());
        for case in page.items {
            items.push(self.opened(connection, case).await?);
        }
        Ok(Page {
            items,
            next_page_token: page.next_page_token,
        })
    }

    async fn opened(&self, connection: &mut PgConnection, case: Case) -> Result<OpenedCase, Error> {
        let (row, account_id) = (case.case_id.to_string(), case.account_id);
        let words = aad(TABLE, "words", &row);
        let words = self
            .open(connection, account_id, words, &case.words_sealed)
            .await?;
        let answer = match &case.answer_sealed {
            Some(sealed) => {
                let answer = aad(TABLE, "answer", &row);
                Some(self.open(connection, account_id, answer, sealed).await?)
            }
            None => None,
        };
        Ok(OpenedCase {
            case,
            words,
            answer,
        })
    }
}
