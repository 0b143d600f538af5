//! Units, tiers and quotes: a call costs what it was said to cost, line by line.

mod tiers;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sqlx::PgPool;
use tempfile::TempDir;
use tonic::{Code, Request};
use wanwu_events::HandlerError;
use wanwu_ids::AccountId;
use wanwu_proto::{
    billing::v1::{
        AcquireLeaseResponse, CallBill, GetCallBillRequest, Lease, QuoteCallRequest,
        QuoteCallResponse, Unit, UnitCount, balance_service_server::BalanceService,
        lease_service_server::LeaseService, price_service_server::PriceService,
    },
    inference::v1::UsageRecorded,
};

use crate::world::{World, YUAN, nanos};

/// In force at the time of tests: a tier above the first from 2 yuan in a month, another from 5.
const LIST: &str = r#"
version = 2
effective_time = "2026-11-02T00:00:00+08:00"

[[tiers]]
threshold_nanos = 2_000_000_000

[[tiers]]
threshold_nanos = 5_000_000_000

[[prices]]
model = "m"
input_token = 700
output_token = 1300
cached_input_token = 70
reasoning_token = 2600
image_input_token = 900
page = 5_000_000
call = 10_000

[[prices]]
model = "m"
tier = 1
input_token = 600
output_token = 1200
cached_input_token = 60
page = 4_000_000

[[prices]]
model = "plain"
input_token = 1
output_token = 2
"#;

async fn world(pool: PgPool) -> World {
    let world = World::new(pool).await;
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("2.toml"), LIST).unwrap();
    let published = world.app().publish_price_lists(folder.path()).await;
    published.unwrap();
    world
}

fn counts(counts: &[(Unit, i64)]) -> Vec<UnitCount> {
    let count = |(unit, count): &(Unit, i64)| UnitCount {
        unit: (*unit).into(),
        count: *count,
    };
    counts.iter().map(count).collect()
}

async fn quote(
    world: &World,
    account: Option<AccountId>,
    model: &str,
    told: &[(Unit, i64)],
) -> Result<QuoteCallResponse, tonic::Status> {
    let quote = QuoteCallRequest {
        model: model.to_owned(),
        counts: counts(told),
        instant: None,
    };
    let request = match account {
        Some(account) => world.by(account, quote),
        None => Request::new(quote),
    };
    Ok(world.api.quote_call(request).await?.into_inner())
}

async fn lend(world: &World, account: AccountId, amount: i64) -> AcquireLeaseResponse {
    let request = world.lease_request(account, world.epoch(), amount, amount);
    let answer = world.api.acquire_lease(Request::new(request)).await;
    answer.unwrap().into_inner()
}

/// A call as a router tells of it, for so much.
fn usage(
    world: &World,
    lease: &Lease,
    told: &[(Unit, i64)],
    tier: i32,
    amount: i64,
) -> UsageRecorded {
    let count = |unit| told.iter().find(|(at, _)| *at == unit).map_or(0, |at| at.1);
    let parts = told
        .iter()
        .filter(|(unit, _)| !matches!(unit, Unit::InputToken | Unit::OutputToken))
        .copied();
    UsageRecorded {
        model: "m".to_owned(),
        input_tokens: count(Unit::InputToken),
        output_tokens: count(Unit::OutputToken),
        parts: counts(&parts.collect::<Vec<_>>()),
        price_version: 2,
        price_tier: tier,
        amount_nanos: amount,
        ..world.usage(lease, 0, 0)
    }
}

async fn bill(world: &World, account: AccountId, usage: &UsageRecorded) -> CallBill {
    let request = GetCallBillRequest {
        call_id: usage.call_id.clone(),
    };
    let answer = world.api.get_call_bill(world.by(account, request)).await;
    answer.unwrap().into_inner().bill.unwrap()
}

#[sqlx::test]
async fn a_call_costs_what_it_was_quoted_and_its_bill_explains_it(pool: PgPool) {
    let world = world(pool).await;
    let account = world.customer(1000).await;
    let used = [
        (Unit::InputToken, 100),
        (Unit::CachedInputToken, 80),
        (Unit::OutputToken, 30),
        (Unit::ReasoningToken, 10),
        (Unit::AudioOutputToken, 5),
        (Unit::Call, 1),
    ];
    let quoted = quote(&world, Some(account), "m", &used[..5]).await.unwrap();
    // By hand: 20 at 700, 80 at 70; 15 at 1300, 10 at 2600, 5 of sound as any others; the call.
    let amount = 14_000 + 5_600 + 19_500 + 26_000 + 6_500 + 10_000;
    assert_eq!(nanos(quoted.amount.clone()), amount);
    assert_eq!((quoted.price_version, quoted.price_tier), (2, 0));

    let lease = lend(&world, account, YUAN).await.lease.unwrap();
    let usage = usage(&world, &lease, &used, 0, amount);
    world.settle(&usage).await.unwrap();
    let bill = bill(&world, account, &usage).await;
    assert_eq!(bill.amount, quoted.amount);
    assert_eq!(bill.lines, quoted.lines);
    assert_eq!((bill.price_version, bill.price_tier), (2, 0));
    assert_eq!((bill.input_tokens, bill.output_tokens), (100, 30));
    let sum: i64 = bill.lines.iter().map(|line| line.amount_nanos).sum();
    assert_eq!(sum, amount);
    for line in &bill.lines {
        assert_eq!(line.amount_nanos, line.count * line.nanos_per_unit);
    }
    let sound = bill
        .lines
        .iter()
        .find(|line| line.unit() == Unit::AudioOutputToken);
    assert_eq!(sound.unwrap().priced_as(), Unit::OutputToken);
    assert!(world.close(&lease, 1, amount).await.unwrap());
    world.assert_sound().await;
}

#[sqlx::test]
async fn usage_whose_parts_cannot_be_true_books_nothing(pool: PgPool) {
    let world = world(pool).await;
    let account = world.customer(1000).await;
    let lease = lend(&world, account, YUAN).await.lease.unwrap();
    let tokens = |parts: &[(Unit, i64)]| {
        let all = [&[(Unit::InputToken, 10), (Unit::OutputToken, 10)], parts].concat();
        usage(&world, &lease, &all, 0, 20_000)
    };
    let field = "a field of the usage is not valid";
    let mut total = tokens(&[]);
    total.parts = counts(&[(Unit::InputToken, 1)]);
    let mut unknown = tokens(&[]);
    unknown.parts = vec![UnitCount { unit: 99, count: 1 }];
    let mut cheaper = tokens(&[(Unit::CachedInputToken, 9)]);
    cheaper.parts.clear();
    cheaper.amount_nanos = 700 + 9 * 70 + 13_000;
    for (usage, why) in [
        (tokens(&[(Unit::CachedInputToken, 11)]), field),
        (
            tokens(&[(Unit::CachedInputToken, 6), (Unit::ImageInputToken, 5)]),
            field,
        ),
        (
            tokens(&[(Unit::ReasoningToken, 1), (Unit::ReasoningToken, 1)]),
            field,
        ),
        (tokens(&[(Unit::ReasoningToken, -1)]), field),
        (total, field),
        (unknown, field),
        (cheaper, "the amount is not what the units cost"),
        (
            tokens(&[(Unit::AudioSecond, 1)]),
            "the amount is not what the units cost",
        ),
        (
            usage(&world, &lease, &[], 1, 0),
            "the price list is not the lease's",
        ),
    ] {
        match world.settle(&usage).await {
            Err(HandlerError::Reject(refused)) => assert_eq!(refused.to_string(), why),
            other => panic!("{other:?}"),
        }
        assert_eq!(world.balance(account).await, (9 * YUAN, YUAN), "{why}");
    }
    world.settle(&tokens(&[])).await.unwrap();
}

#[sqlx::test]
async fn what_cannot_be_quoted_says_why(pool: PgPool) {
    let world = world(pool).await;
    use Unit::{AudioSecond, CachedInputToken, InputToken};
    type Case = (&'static str, &'static [(Unit, i64)], Code);
    let cases: [Case; 6] = [
        ("unheard-of", &[], Code::NotFound),
        ("m", &[(AudioSecond, 1)], Code::InvalidArgument),
        ("m", &[(InputToken, -1)], Code::InvalidArgument),
        (
            "m",
            &[(InputToken, 1), (InputToken, 1)],
            Code::InvalidArgument,
        ),
        (
            "m",
            &[(InputToken, 1), (CachedInputToken, 2)],
            Code::InvalidArgument,
        ),
        ("m", &[(InputToken, i64::MAX)], Code::InvalidArgument),
    ];
    for (model, told, code) in cases {
        let refused = quote(&world, None, model, told).await.unwrap_err();
        assert_eq!(refused.code(), code, "{told:?}");
    }
    let free = quote(&world, None, "plain", &[]).await.unwrap();
    assert_eq!((nanos(free.amount), free.lines.len()), (0, 0));
}

/// Any counts: what is quoted, what is settled and what a naive computation says is one number.
#[sqlx::test]
async fn quotes_settlements_and_a_naive_sum_agree_whatever_is_counted(pool: PgPool) {
    let world = world(pool).await;
    let account = world.customer(1_000_000).await;
    let lease = lend(&world, account, 5_000 * YUAN).await.lease.unwrap();
    let mut chance = StdRng::seed_from_u64(20_261_126);
    for _ in 0..60 {
        let (input, output) = (chance.random_range(0..5_000), chance.random_range(0..5_000));
        let cached = chance.random_range(0..=input);
        let image = chance.random_range(0..=input - cached);
        let reasoning = chance.random_range(0..=output);
        let pages = chance.random_range(0..3);
        let mut told = vec![
            (Unit::InputToken, input),
            (Unit::OutputToken, output),
            (Unit::CachedInputToken, cached),
            (Unit::ImageInputToken, image),
            (Unit::ReasoningToken, reasoning),
            (Unit::Page, pages),
            (Unit::Call, 1),
        ];
        told.retain(|(_, count)| *count > 0);
        let mut expected = 10_000 + pages * 5_000_000;
        for token in 0..input {
            let of_cache = token < cached;
            let of_image = !of_cache && token < cached + image;
            expected += if of_cache {
                70
            } else if of_image {
                900
            } else {
                700
            };
        }
        for token in 0..output {
            expected += if token < reasoning { 2600 } else { 1300 };
        }
        let quoted = quote(&world, None, "m", &told).await.unwrap();
        assert_eq!(nanos(quoted.amount), expected, "{told:?}");
        world
            .settle(&usage(&world, &lease, &told, 0, expected))
            .await
            .unwrap();
    }
    world.assert_sound().await;
}
