//! Routes as an operator puts them by RPC, and calls that follow them.

use chrono::Utc;
use prost_types::Timestamp;
use sqlx::PgPool;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use wanwu_grpc::Channel;
use wanwu_ids::AccountId;
use wanwu_proto::inference::v1::{
    ListModelsRequest, ListRoutesRequest, Model, PutRouteRequest, Route, RouteMirror, RouteTarget,
    model_service_client::ModelServiceClient, route_service_client::RouteServiceClient,
};

use crate::{
    routes::{Roads, asked_for, roads},
    world::{
        World, all_shapes, billing, id,
        served::{Served, of_support},
        wait_for,
    },
};

/// A support engineer's way to routes.
struct Support(RouteServiceClient<Channel>);

impl Support {
    fn of(served: &Served) -> Self {
        Self(RouteServiceClient::new(served.channel("edge")))
    }

    async fn put(&mut self, route: &Route, expected_version: i64) -> Result<Route, Status> {
        let request = PutRouteRequest {
            route: Some(route.clone()),
            expected_version,
        };
        let put = self.0.put_route(of_support(request)).await?;
        Ok(put.into_inner().route.unwrap())
    }

    async fn list(&mut self) -> Vec<Route> {
        let request = of_support(ListRoutesRequest {});
        let list = self.0.list_routes(request).await.unwrap();
        list.into_inner().routes
    }
}

fn target(model: &str, weight: i32) -> RouteTarget {
    RouteTarget {
        model: model.to_owned(),
        weight,
    }
}

/// The models as an account sees them.
async fn models(served: &Served, account: AccountId) -> Vec<Model> {
    let mut client = ModelServiceClient::new(served.channel("edge"));
    let request = served.of_account(ListModelsRequest {}, account);
    let listed = client.list_models(request).await.unwrap();
    listed.into_inner().models
}

fn names(models: &[Model]) -> Vec<&str> {
    models.iter().map(|model| model.name.as_str()).collect()
}

/// Every call is copied.
fn copied_to(model: &str) -> Option<RouteMirror> {
    Some(RouteMirror {
        model: model.to_owned(),
        per_mille: 1000,
    })
}

#[sqlx::test]
async fn a_route_is_listed_as_it_was_put_and_calls_follow_its_weights_fallbacks_and_copies(
    pool: PgPool,
) {
    const CALLS: usize = 60;
    let Roads { world, new } = roads(&pool).await;
    let served = Served::around(world, |_| {}).await;
    let mut support = Support::of(&served);
    let world = &served.world;
    let account = world.caller.account_id;
    // A third of the calls is for engines that are not there, and so is their first fallback.
    let asked = Route {
        name: "fast".to_owned(),
        targets: vec![target("test", 2), target("down", 1)],
        fallbacks: vec!["gone".to_owned(), "new".to_owned()],
        mirror: copied_to("new"),
        allowed_account_ids: vec![account.to_string()],
        ..Route::default()
    };
    let put = support.put(&asked, 0).await.unwrap();
    let kept = Route {
        version: 1,
        ..asked
    };
    assert_eq!(put, kept);
    assert_eq!(support.list().await, [kept]);
    wait_for("the router to find it", async || {
        let calls = &world.app.chat;
        let names = calls.routes.names(&calls.catalogue, account, Utc::now());
        names.iter().any(|(name, ..)| name == "fast")
    })
    .await;

    let mut answered = Vec::new();
    for _ in 0..CALLS {
        let got = world.call(&asked_for("fast", true)).await.unwrap();
        assert!(got.error.is_none(), "{got:?}");
        let by_new = match got.frames[0]["model"].as_str() {
            Some("test") => false,
            Some("new") => true,
            other => panic!("{other:?}"),
        };
        answered.push((got.call_id, by_new));
    }
    let fell_back = answered.iter().filter(|(_, by_new)| *by_new).count();
    assert!((3..=40).contains(&fell_back), "{fell_back} of {CALLS}");
    assert_eq!(world.engine.calls(), CALLS - fell_back);
    wait_for("a copy of each call", async || {
        answered.iter().all(|(call, by_new)| {
            let times = new.seen(call).map_or(0, |seen| seen.times);
            times == 1 + u32::from(*by_new)
        })
    })
    .await;
    // Whoever answered: the prices of the first model, and nothing for copies.
    wait_for("the bills", async || {
        billing::events(&pool).await.len() == CALLS
    })
    .await;
    let bills = billing::events(&pool).await;
    assert!(bills.iter().all(|bill| bill.model == "test"));
}

#[sqlx::test]
async fn names_are_listed_with_their_shapes_and_ends_for_the_accounts_that_may_call_them(
    pool: PgPool,
) {
    let world = World::with(pool, all_shapes).await;
    let served = Served::around(world, |_| {}).await;
    let mut support = Support::of(&served);
    let (ours, theirs): (_, AccountId) = (served.world.caller.account_id, id());
    let catalogue = models(&served, ours).await;
    let [test, vectors] = catalogue.as_slice() else {
        panic!("{catalogue:?}")
    };
    assert_eq!(test.shapes, ["chat", "completions", "responses"]);
    assert_eq!(vectors.shapes, ["embeddings"]);
    assert_eq!((test.deprecation_time, test.end_time), (None, None));

    let in_days = |days: i64| Timestamp {
        seconds: Utc::now().timestamp() + days * 86_400,
        nanos: 500_000_000,
    };
    let mut fast = Route {
        name: "fast".to_owned(),
        targets: vec![target("test", 1), target("vectors", 1)],
        allowed_account_ids: vec![theirs.to_string()],
        deprecation_time: Some(in_days(-1)),
        end_time: Some(in_days(30)),
        ..Route::default()
    };
    support.put(&fast, 0).await.unwrap();
    wait_for("the name to be listed", async || {
        names(&models(&served, theirs).await).contains(&"fast")
    })
    .await;
    // It is what its first model is, but for its end.
    let told = Model {
        name: "fast".to_owned(),
        deprecation_time: fast.deprecation_time,
        end_time: fast.end_time,
        ..test.clone()
    };
    let listed = models(&served, theirs).await;
    assert_eq!(listed, [told, test.clone(), vectors.clone()]);
    assert_eq!(models(&served, ours).await, catalogue);

    // A route with the name of a model hides the model too.
    let hidden = Route {
        name: "test".to_owned(),
        targets: vec![target("test", 1)],
        allowed_account_ids: vec![theirs.to_string()],
        ..Route::default()
    };
    support.put(&hidden, 0).await.unwrap();
    wait_for("the model to be hidden", async || {
        names(&models(&served, ours).await) == ["vectors"]
    })
    .await;
    let listed = models(&served, theirs).await;
    assert_eq!(names(&listed), ["fast", "test", "vectors"]);

    fast.end_time = fast.deprecation_time;
    support.put(&fast, 1).await.unwrap();
    wait_for("the name to end", async || {
        names(&models(&served, theirs).await) == ["test", "vectors"]
    })
    .await;
}

#[sqlx::test]
async fn what_is_wrong_with_a_route_is_named_by_its_field_and_changes_nothing(pool: PgPool) {
    type Change = fn(&mut Route);
    let cases: [(&str, Change); 8] = [
        ("route.name", |r| r.name.clear()),
        ("route.targets.model", |r| r.targets[0].model.push('x')),
        ("route.targets.weight", |r| r.targets[0].weight = 0),
        ("route.targets.weight", |r| r.targets[0].weight = -1),
        ("route.fallbacks", |r| r.fallbacks.push("nobody".to_owned())),
        ("route.mirror.per_mille", |r| {
            r.mirror.as_mut().unwrap().per_mille = -1;
        }),
        ("route.allowed_account_ids", |r| {
            r.allowed_account_ids.push("nobody".to_owned());
        }),
        ("route.end_time", |r| {
            let (seconds, nanos) = (0, -1);
            r.end_time = Some(Timestamp { seconds, nanos });
        }),
    ];
    let served = Served::around(World::start(pool).await, |_| {}).await;
    let mut support = Support::of(&served);
    let good = Route {
        name: "fast".to_owned(),
        targets: vec![target("test", 1)],
        mirror: copied_to("test"),
        ..Route::default()
    };
    for (field, change) in cases {
        let mut bad = good.clone();
        change(&mut bad);
        let refused = support.put(&bad, 0).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{bad:?}");
        let details = refused.get_error_details();
        let named = &details.bad_request().unwrap().field_violations[0].field;
        assert_eq!(named, field, "{bad:?}");
    }
    assert!(support.list().await.is_empty());

    // Whoever does not know the newest version changes nothing either.
    let kept = support.put(&good, 0).await.unwrap();
    for stale in [0, 2] {
        let refused = support.put(&good, stale).await.unwrap_err();
        let reason = refused.get_details_error_info().unwrap().reason;
        assert_eq!(reason, "ROUTE_CHANGED");
    }
    assert_eq!(support.list().await, [kept]);
}
