use std::path::Path;

use billing::grpc::AfterSalesHandlers;
use sqlx::PgPool;
use tonic::{Code, Status};
use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::{
    AfterSalesCase, AfterSalesKind, AnswerAfterSalesCaseRequest, ListAfterSalesCasesRequest,
    ListOpenAfterSalesCasesRequest, OpenAfterSalesCaseRequest,
    after_sales_service_server::AfterSalesService,
};

use crate::world::{World, reason};

struct Counter {
    world: World,
    api: AfterSalesHandlers,
}

impl Counter {
    async fn new(pool: PgPool) -> Self {
        let world = World::new(pool).await;
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/products"));
        world.app().publish_catalogues(folder).await.unwrap();
        let api = AfterSalesHandlers(world.order_desk());
        Self { world, api }
    }

    fn question(&self, order_id: &str, product_id: &str) -> OpenAfterSalesCaseRequest {
        OpenAfterSalesCaseRequest {
            request_id: self.world.ids.id::<()>().to_string(),
            order_id: order_id.to_owned(),
            product_id: product_id.to_owned(),
            kind: AfterSalesKind::Question.into(),
            words: "请问什么时候发货？".to_owned(),
        }
    }

    async fn ask(
        &self,
        account: AccountId,
        question: OpenAfterSalesCaseRequest,
    ) -> Result<AfterSalesCase, Status> {
        let request = self.world.by(account, question);
        let answer = self.api.open_after_sales_case(request).await?;
        Ok(answer.into_inner().case.unwrap())
    }

    async fn answer(&self, case_id: &str, answer: &str) -> Result<AfterSalesCase, Status> {
        let request = AnswerAfterSalesCaseRequest {
            case_id: case_id.to_owned(),
            answer: answer.to_owned(),
        };
        let request = self.world.by_operator(self.world.ids.id(), request);
        let answer = self.api.answer_after_sales_case(request).await?;
        Ok(answer.into_inner().case.unwrap())
    }

    async fn open(&self) -> Vec<AfterSalesCase> {
        let request = ListOpenAfterSalesCasesRequest::default();
        let request = self.world.by_operator(self.world.ids.id(), request);
        let answer = self.api.list_open_after_sales_cases(request).await;
        answer.unwrap().into_inner().cases
    }
}

#[sqlx::test]
async fn a_question_about_a_purchase_opens_a_case_that_is_answered_once(pool: PgPool) {
    let counter = Counter::new(pool).await;
    let account = counter.world.account();
    let (order, _) = counter.world.order(account, 100).await;
    let question = counter.question(&order.order_id, "");
    let case = counter.ask(account, question.clone()).await.unwrap();
    assert_eq!(counter.ask(account, question).await.unwrap(), case);
    let about_product = counter.question("", "printed-handbook");
    counter.ask(account, about_product).await.unwrap();
    assert_eq!(counter.open().await.len(), 2);
    let answered = counter.answer(&case.case_id, "明天").await.unwrap();
    assert_eq!(
        (answered.words, answered.answer.as_str()),
        (case.words, "明天")
    );
    counter.answer(&case.case_id, "明天").await.unwrap();
    let other = counter.answer(&case.case_id, "后天").await.unwrap_err();
    assert_eq!(reason(&other), "CASE_RESOLVED");
    assert_eq!(counter.open().await.len(), 1);
    let request = counter
        .world
        .by(account, ListAfterSalesCasesRequest::default());
    let mine = counter.api.list_after_sales_cases(request).await.unwrap();
    let mine = mine.into_inner().cases;
    assert_eq!((mine.len(), mine[1].answer.as_str()), (2, "明天"));
    let stranger = counter.world.account();
    let request = counter
        .world
        .by(stranger, ListAfterSalesCasesRequest::default());
    let theirs = counter.api.list_after_sales_cases(request).await.unwrap();
    assert_eq!(theirs.into_inner().cases, []);
}

#[sqlx::test]
async fn a_case_is_about_the_callers_order_or_a_product_and_its_words_are_sealed(pool: PgPool) {
    let counter = Counter::new(pool).await;
    let account = counter.world.account();
    let (order, _) = counter.world.order(account, 100).await;
    for (who, order_id, product_id, code) in [
        (
            counter.world.account(),
            order.order_id.as_str(),
            "",
            Code::NotFound,
        ),
        (account, "", "everything", Code::NotFound),
        (account, "", "", Code::InvalidArgument),
        (
            account,
            order.order_id.as_str(),
            "printed-handbook",
            Code::InvalidArgument,
        ),
    ] {
        let refused = counter
            .ask(who, counter.question(order_id, product_id))
            .await;
        assert_eq!(refused.unwrap_err().code(), code, "{order_id} {product_id}");
    }
    let mut silent = counter.question(&order.order_id, "");
    silent.words = "  ".to_owned();
    assert_eq!(
        counter.ask(account, silent).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let question = counter.question(&order.order_id, "");
    let words = question.words.clone();
    let case = counter.ask(account, question).await.unwrap();
    counter.answer(&case.case_id, "明天").await.unwrap();
    let rows: Vec<String> = sqlx::query_scalar("select c::text from after_sales_cases c")
        .fetch_all(&counter.world.pool)
        .await
        .unwrap();
    for secret in [words.as_str(), "明天"] {
        assert!(!rows.concat().contains(secret) && !rows.concat().contains(&hex::encode(secret)));
    }
}
