//! Price lists that operators publish: two people, with notice, and for good.

use chrono::{DateTime, Duration, Utc};
use prost_types::Timestamp;
use sqlx::PgPool;
use tonic::{Code, Request, Status};
use wanwu_ids::OperatorId;
use wanwu_proto::billing::v1::{
    GetPriceListRequest, ListPriceListsRequest, ListPriceProposalsRequest, Price, PriceProposal,
    PriceProposalState, PriceTier, ProposePriceListRequest, PublishPriceListRequest,
    RefusePriceListRequest, Unit, price_service_server::PriceService,
};

use crate::world::{World, reason};

fn price(model: &str, unit: Unit, nanos_per_unit: i64) -> Price {
    Price {
        model: model.to_owned(),
        unit: unit.into(),
        nanos_per_unit,
    }
}

fn request(world: &World, start: DateTime<Utc>) -> ProposePriceListRequest {
    ProposePriceListRequest {
        request_id: world.ids.id::<()>().to_string(),
        effective_time: Some(Timestamp {
            seconds: start.timestamp(),
            nanos: 0,
        }),
        prices: vec![
            price("m", Unit::InputToken, 5),
            price("m", Unit::OutputToken, 9),
            price("m", Unit::Image, 70),
        ],
        tiers: vec![PriceTier {
            tier: 1,
            threshold_nanos: 1_000,
            prices: vec![
                price("m", Unit::InputToken, 4),
                price("m", Unit::OutputToken, 8),
            ],
        }],
    }
}

async fn propose(
    world: &World,
    by: OperatorId,
    request: &ProposePriceListRequest,
) -> Result<PriceProposal, Status> {
    let request = world.by_operator(by, request.clone());
    let answer = world.api.propose_price_list(request).await?;
    Ok(answer.into_inner().proposal.unwrap())
}

async fn publish(
    world: &World,
    by: OperatorId,
    proposal: &PriceProposal,
) -> Result<PriceProposal, Status> {
    let proposal_id = proposal.proposal_id.clone();
    let request = world.by_operator(by, PublishPriceListRequest { proposal_id });
    let answer = world.api.publish_price_list(request).await?;
    Ok(answer.into_inner().proposal.unwrap())
}

async fn refuse(
    world: &World,
    by: OperatorId,
    proposal: &PriceProposal,
) -> Result<PriceProposal, Status> {
    let proposal_id = proposal.proposal_id.clone();
    let request = world.by_operator(by, RefusePriceListRequest { proposal_id });
    let answer = world.api.refuse_price_list(request).await?;
    Ok(answer.into_inner().proposal.unwrap())
}

async fn in_force(world: &World) -> i32 {
    let request = Request::new(GetPriceListRequest { instant: None });
    let list = world.api.get_price_list(request).await.unwrap();
    list.into_inner().price_list.unwrap().version
}

fn in_eight_days(world: &World) -> DateTime<Utc> {
    use wanwu_clock::Clock as _;
    world.clock.now() + Duration::days(8)
}

#[sqlx::test]
async fn one_proposes_another_publishes_and_it_is_in_force_from_its_start(pool: PgPool) {
    let world = World::new(pool).await;
    let (one, other): (OperatorId, OperatorId) = (world.ids.id(), world.ids.id());
    let request = request(&world, in_eight_days(&world));
    let proposal = propose(&world, one, &request).await.unwrap();
    assert_eq!(proposal.state(), PriceProposalState::Proposed);
    let list = proposal.price_list.clone().unwrap();
    assert_eq!(
        (list.version, list.prices.len(), list.tiers.len()),
        (0, 3, 1)
    );
    let again = propose(&world, one, &request).await.unwrap();
    assert_eq!(again, proposal, "the same request");
    assert_eq!(in_force(&world).await, 1);

    let refused = publish(&world, one, &proposal).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(reason(&refused), "SAME_OPERATOR");
    let published = publish(&world, other, &proposal).await.unwrap();
    assert_eq!(published.state(), PriceProposalState::Published);
    assert_eq!(published.decided_by, other.to_string());
    assert_eq!(published.price_list.as_ref().unwrap().version, 2);
    assert_eq!(published.price_list.as_ref().unwrap().prices, list.prices);
    assert_eq!(publish(&world, other, &proposal).await.unwrap(), published);
    let refused = refuse(&world, one, &proposal).await.unwrap_err();
    assert_eq!(reason(&refused), "PRICE_PROPOSAL_STATE");

    let lists = ListPriceListsRequest::default();
    let lists = world
        .api
        .list_price_lists(Request::new(lists))
        .await
        .unwrap();
    let lists = lists.into_inner().price_lists;
    let versions: Vec<i32> = lists.iter().map(|list| list.version).collect();
    assert_eq!(versions, [2, 1], "what is to come is public");
    assert_eq!(Some(&lists[0]), published.price_list.as_ref());
    world
        .clock
        .advance(Duration::days(8) - Duration::seconds(1));
    assert_eq!(in_force(&world).await, 1);
    world.clock.advance(Duration::seconds(1));
    assert_eq!(in_force(&world).await, 2);
    let told: i64 = sqlx::query_scalar(
        "select count(*) from outbox where type = 'wanwu.billing.v1.PriceListPublished'",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(told, 2);
}

#[sqlx::test]
async fn a_list_without_notice_or_before_another_is_not_published(pool: PgPool) {
    let world = World::new(pool).await;
    let (one, other): (OperatorId, OperatorId) = (world.ids.id(), world.ids.id());
    let start = in_eight_days(&world);
    let first = propose(&world, one, &request(&world, start)).await.unwrap();
    let same = propose(&world, one, &request(&world, start)).await.unwrap();
    let late = request(&world, start + Duration::days(1));
    let late = propose(&world, one, &late).await.unwrap();
    publish(&world, other, &first).await.unwrap();
    for proposal in [&same, &late] {
        // The one starts with another, the other without notice by now.
        let refused = publish(&world, other, proposal).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refused), "PRICE_LIST_START");
        world
            .clock
            .advance(Duration::days(2) + Duration::seconds(1));
    }
    assert_eq!(
        refuse(&world, one, &late).await.unwrap().decided_by,
        one.to_string()
    );
    let refused = publish(&world, other, &late).await.unwrap_err();
    assert_eq!(reason(&refused), "PRICE_PROPOSAL_STATE");
    let all = world.by_operator(other, ListPriceProposalsRequest::default());
    let all = world
        .api
        .list_price_proposals(all)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(all.proposals.len(), 3);
}

#[sqlx::test]
async fn what_is_published_never_changes(pool: PgPool) {
    let world = World::new(pool).await;
    let (one, other): (OperatorId, OperatorId) = (world.ids.id(), world.ids.id());
    let request = request(&world, in_eight_days(&world));
    let proposal = propose(&world, one, &request).await.unwrap();
    publish(&world, other, &proposal).await.unwrap();
    for statement in [
        "update unit_prices set nanos_per_unit = 0",
        "update price_tiers set threshold_nanos = 1",
        "delete from unit_prices",
        "truncate price_tiers",
        "delete from price_proposals",
    ] {
        let changed = sqlx::query(statement).execute(&world.pool).await;
        assert!(changed.is_err(), "{statement}");
    }
    // Nor does anybody publish alone who writes to the table.
    let alone = "update price_proposals set decided_by = proposed_by";
    let alone = sqlx::query(alone).execute(&world.pool).await.unwrap_err();
    assert!(
        alone
            .to_string()
            .contains("price_proposals_decided_by_check")
    );
}

#[sqlx::test]
async fn lists_that_cannot_be_are_not_taken(pool: PgPool) {
    let world = World::new(pool).await;
    let operator: OperatorId = world.ids.id();
    let good = request(&world, in_eight_days(&world));
    let with = |change: &dyn Fn(&mut ProposePriceListRequest)| {
        let mut request = good.clone();
        request.request_id = world.ids.id::<()>().to_string();
        change(&mut request);
        request
    };
    for wrong in [
        with(&|r| r.effective_time = None),
        with(&|r| r.effective_time.as_mut().unwrap().nanos = 1),
        with(&|r| r.prices.clear()),
        with(&|r| drop(r.prices.remove(0))),
        with(&|r| r.prices[0].nanos_per_unit = -1),
        with(&|r| r.prices[0].unit = 99),
        with(&|r| r.prices.push(price("m", Unit::Image, 1))),
        with(&|r| r.tiers[0].tier = 2),
        with(&|r| r.tiers[0].threshold_nanos = 0),
        with(&|r| r.tiers[0].prices.truncate(1)),
        with(&|r| r.tiers[0].prices[0].model = "other".to_owned()),
    ] {
        let refused = propose(&world, operator, &wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{wrong:?}");
    }
    propose(&world, operator, &good).await.unwrap();
}
