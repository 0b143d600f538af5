use chrono::Duration;
use sqlx::PgPool;
use tonic::Status;
use wanwu_access::{Caller, Subject};
use wanwu_clock::Clock;
use wanwu_proto::billing::v1::{
    ImportProviderBillRequest, ImportProviderBillResponse, ListReconciliationCasesRequest,
    ProviderBillLine, ReconciliationCase, ReconciliationDifference,
    ResolveReconciliationCaseRequest, reconciliation_service_server::ReconciliationService,
};

use crate::world::{World, reason};

/// The lines that the provider would bill for what was paid here.
async fn bill(world: &World) -> Vec<ProviderBillLine> {
    let rows: Vec<(String, uuid::Uuid, i64)> = sqlx::query_as(
        "select provider_transaction_id, order_id, amount_fen from payments order by 1",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let line =
        |(provider_transaction_id, order, amount_fen): (_, uuid::Uuid, _)| ProviderBillLine {
            provider_transaction_id,
            order_number: order.simple().to_string(),
            amount_fen,
        };
    rows.into_iter().map(line).collect()
}

async fn import(world: &World, lines: &[ProviderBillLine]) -> ImportProviderBillResponse {
    let china = world.clock.now() + Duration::hours(8);
    let request = ImportProviderBillRequest {
        provider: "wechat".to_owned(),
        day: china.date_naive().to_string(),
        lines: lines.to_vec(),
    };
    let request = tonic::Request::new(request);
    world
        .api
        .import_provider_bill(request)
        .await
        .unwrap()
        .into_inner()
}

async fn cases(world: &World) -> Vec<ReconciliationCase> {
    let request = ListReconciliationCasesRequest {
        open_only: true,
        ..ListReconciliationCasesRequest::default()
    };
    let request = tonic::Request::new(request);
    let answer = world.api.list_reconciliation_cases(request).await.unwrap();
    answer.into_inner().cases
}

async fn resolve(world: &World, case_id: &str, words: &str) -> Result<(), Status> {
    let mut request = tonic::Request::new(ResolveReconciliationCaseRequest {
        case_id: case_id.to_owned(),
        resolution: words.to_owned(),
    });
    request.extensions_mut().insert(Caller {
        subject: Subject::Operator {
            operator_id: world.ids.id(),
            session_id: world.ids.id(),
            roles: Vec::new(),
        },
        request_id: "r".to_owned(),
        mainland: true,
        address_key: String::new(),
    });
    world
        .api
        .resolve_reconciliation_case(request)
        .await
        .map(drop)
}

#[sqlx::test]
async fn each_difference_has_one_case_that_is_resolved_once(pool: PgPool) {
    let world = World::new(pool).await;
    for _ in 0..4 {
        world.customer(100).await;
    }
    let mut lines = bill(&world).await;
    let whole = import(&world, &lines).await;
    assert_eq!((whole.agreed, whole.differences, whole.opened), (4, 0, 0));

    lines[1].amount_fen = 99;
    let mut unknown = lines[2].clone();
    unknown.provider_transaction_id = "a stranger".to_owned();
    lines.push(unknown);
    lines.remove(0);
    let found = import(&world, &lines).await;
    assert_eq!((found.agreed, found.differences, found.opened), (2, 3, 3));
    let again = import(&world, &lines).await;
    assert_eq!((again.differences, again.opened), (3, 0));

    let open = cases(&world).await;
    let mut kinds: Vec<_> = open.iter().map(ReconciliationCase::difference).collect();
    kinds.sort();
    assert_eq!(
        kinds,
        [
            ReconciliationDifference::NotBooked,
            ReconciliationDifference::NotBilled,
            ReconciliationDifference::Amount,
        ]
    );
    resolve(&world, &open[0].case_id, "paid back")
        .await
        .unwrap();
    resolve(&world, &open[0].case_id, "paid back")
        .await
        .unwrap();
    let other = resolve(&world, &open[0].case_id, "forgotten").await;
    assert_eq!(reason(&other.unwrap_err()), "CASE_RESOLVED");
    let nobody = resolve(&world, &world.account().to_string(), "paid back").await;
    assert_eq!(reason(&nobody.unwrap_err()), "NOT_FOUND");
    assert_eq!(cases(&world).await.len(), 2);
}

#[sqlx::test]
async fn payments_of_another_day_are_another_bills(pool: PgPool) {
    let world = World::new(pool).await;
    world.customer(100).await;
    let lines = bill(&world).await;
    world.clock.advance(Duration::days(1));
    let found = import(&world, &lines).await;
    assert_eq!(
        (found.agreed, found.differences),
        (0, 1),
        "not booked on that day"
    );
    assert_eq!(import(&world, &[]).await.differences, 0);
}
