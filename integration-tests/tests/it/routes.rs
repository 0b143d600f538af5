//! What operators decide of calls, as customers feel it: where names go, and how much an account may call.

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};
use integration_tests::journey::{ApiError, Journey, Operator};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::world::{customer, reason, request_id, scripted, stack, truth, until};

/// A replica finds a change in this time.
const FOUND: Duration = Duration::from_secs(2);
const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";
const PUT: &str = "wanwu.inference.v1.RouteService/PutRoute";
const DELETE: &str = "wanwu.inference.v1.RouteService/DeleteRoute";
const LIST: &str = "wanwu.inference.v1.RouteService/ListRoutes";
const MODELS: &str = "wanwu.inference.v1.ModelService/ListModels";
const SET: &str = "wanwu.inference.v1.LimitService/SetAccountLimits";
const GET: &str = "wanwu.inference.v1.LimitService/GetAccountLimits";

async fn operator(role: &str) -> Operator {
    Operator::with_roles(&stack(), &[role]).await.unwrap()
}

/// Asks for a short answer of a name.
async fn ask(journey: &Journey, name: &str) -> Response {
    let mut body = scripted(json!({"tokens": 3}));
    body["model"] = json!(name);
    let url = format!("{}/v1/chat/completions", journey.api().base());
    let request = journey.api().http().post(url).bearer_auth(journey.secret());
    request.json(&body).send().await.unwrap()
}

/// Asks until the answer has this status; says how often it had another.
async fn ask_until(journey: &Journey, name: &str, status: u16) -> (Response, u64) {
    let begin = Instant::now();
    let mut others = 0;
    loop {
        let answer = ask(journey, name).await;
        if answer.status() == status {
            return (answer, others);
        }
        let late = begin.elapsed() >= FOUND;
        assert!(!late, "{name} is still answered with {}", answer.status());
        others += 1;
        sleep(Duration::from_millis(50)).await;
    }
}

async fn document(answer: Response) -> Value {
    answer.json().await.unwrap()
}

/// Asks until the name is not there.
async fn gone(journey: &Journey, name: &str) {
    let (refused, _) = ask_until(journey, name, 404).await;
    assert_eq!(document(refused).await["error"]["code"], "model_not_found");
}

fn route(name: &str) -> Value {
    json!({"name": name, "targets": [{"model": "scripted", "weight": 1}]})
}

async fn put(operator: &Operator, route: &Value, expected: i64) -> Result<Value, ApiError> {
    let body = json!({"route": route, "expectedVersion": expected.to_string()});
    let answer = operator.call(PUT, body).await?;
    Ok(answer["route"].clone())
}

async fn delete(operator: &Operator, name: &str, expected: i64) -> Result<Value, ApiError> {
    let body = json!({"name": name, "expectedVersion": expected.to_string()});
    operator.call(DELETE, body).await
}

/// The route of a name as it is listed.
async fn listed(operator: &Operator, name: &str) -> Option<Value> {
    let list = operator.call(LIST, json!({})).await.unwrap();
    let mut routes = list["routes"].as_array().into_iter().flatten();
    routes.find(|route| route["name"] == name).cloned()
}

/// A model or a name as the catalogue shows it to a customer.
async fn in_catalogue(journey: &Journey, name: &str) -> Option<Value> {
    let list = journey.call(MODELS, json!({})).await.unwrap();
    let mut models = list["models"].as_array().into_iter().flatten();
    models.find(|model| model["name"] == name).cloned()
}

/// What `/v1/models` says, or one of its models.
async fn models(journey: &Journey, path: &str) -> Response {
    let url = format!("{}/v1/models{path}", journey.api().base());
    let request = journey.api().http().get(url).bearer_auth(journey.secret());
    request.send().await.unwrap()
}

/// A name is shown among the models, and alone; or neither.
async fn is_shown(journey: &Journey, name: &str) -> bool {
    let list = document(models(journey, "").await).await;
    let mut listed = list["data"].as_array().unwrap().iter();
    let is_listed = listed.any(|model| model["id"] == name);
    let alone = models(journey, &format!("/{name}")).await;
    let status = alone.status().as_u16();
    let alone = document(alone).await;
    if is_listed {
        assert_eq!((status, &alone["id"]), (200, &json!(name)));
    } else {
        assert_eq!(
            (status, &alone["error"]["code"]),
            (404, &json!("model_not_found"))
        );
    }
    is_listed
}

fn changed_meanwhile(outcome: Result<Value, ApiError>) {
    assert_eq!(reason(outcome), (409, "ROUTE_CHANGED".to_owned()));
}

fn account(journey: &Journey) -> &str {
    &journey.session.as_ref().unwrap().account_id
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[tokio::test]
async fn an_operator_sends_a_name_to_a_model_and_customers_are_told_of_its_end() {
    let (support, journey) = (operator("support").await, customer().await);
    let name = format!("name-{}", request_id());
    gone(&journey, &name).await;

    let now = Utc::now().trunc_subsecs(0);
    let (deprecated, end) = (now - TimeDelta::days(1), now + TimeDelta::days(30));
    let mut asked = route(&name);
    asked["deprecationTime"] = json!(rfc3339(deprecated));
    asked["endTime"] = json!(rfc3339(end));
    let kept = put(&support, &asked, 0).await.unwrap();
    assert_eq!(kept["version"], "1");
    assert_eq!(listed(&support, &name).await.unwrap(), kept);
    let (answer, _) = ask_until(&journey, &name, 200).await;
    let deprecation = format!("@{}", deprecated.timestamp());
    assert_eq!(answer.headers()["deprecation"], deprecation);
    let sunset = end.format(HTTP_DATE).to_string();
    assert_eq!(answer.headers()["sunset"], sunset);
    assert_eq!(document(answer).await["model"], "scripted");

    // The catalogue tells it too; the rest is as of the model.
    let shown = in_catalogue(&journey, &name).await.unwrap();
    let model = in_catalogue(&journey, "scripted").await.unwrap();
    for end in ["deprecationTime", "endTime"] {
        assert_eq!(shown[end], kept[end]);
        assert!(model[end].is_null(), "{model}");
    }
    let shapes = json!(["chat", "completions", "responses", "embeddings"]);
    assert_eq!(shown["shapes"], shapes);
    for part in ["shapes", "capability", "contextTokens", "createTime"] {
        assert_eq!(shown[part], model[part]);
    }

    // Whoever does not know the newest version changes nothing.
    for stale in [0, 2] {
        changed_meanwhile(put(&support, &route(&name), stale).await);
    }
    changed_meanwhile(delete(&support, &name, 2).await);
    assert_eq!(listed(&support, &name).await.unwrap(), kept);

    delete(&support, &name, 1).await.unwrap();
    gone(&journey, &name).await;
    assert!(listed(&support, &name).await.is_none());
    let again = delete(&support, &name, 2).await;
    assert_eq!(reason(again), (404, "NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn a_route_keeps_its_weights_its_fallbacks_and_its_copies_which_reach_the_engine() {
    let (support, journey) = (operator("support").await, customer().await);
    let name = format!("name-{}", request_id());
    let mut asked = route(&name);
    asked["targets"][0]["weight"] = json!(3);
    asked["fallbacks"] = json!(["scripted"]);
    asked["mirror"] = json!({"model": "scripted", "perMille": 1000});
    let kept = put(&support, &asked, 0).await.unwrap();
    for part in ["targets", "fallbacks", "mirror"] {
        assert_eq!(kept[part], asked[part]);
    }
    assert_eq!(listed(&support, &name).await.unwrap(), kept);
    let (answer, _) = ask_until(&journey, &name, 200).await;
    let call = answer.headers()["wanwu-call-id"].to_str().unwrap();
    until("the call and its copy", async || {
        (truth(call).await["times"] == 2).then_some(())
    })
    .await;
    delete(&support, &name, 1).await.unwrap();
}

#[tokio::test]
async fn a_name_exists_for_the_accounts_that_an_operator_allows() {
    let (support, journey) = (operator("support").await, customer().await);
    let other = customer().await;
    let name = format!("name-{}", request_id());
    put(&support, &route(&name), 0).await.unwrap();
    ask_until(&journey, &name, 200).await;
    assert!(is_shown(&journey, &name).await && is_shown(&other, &name).await);

    let mut allowed = route(&name);
    allowed["allowedAccountIds"] = json!([account(&other)]);
    let kept = put(&support, &allowed, 1).await.unwrap();
    assert_eq!(kept["allowedAccountIds"], allowed["allowedAccountIds"]);
    gone(&journey, &name).await;
    ask_until(&other, &name, 200).await;
    assert!(!is_shown(&journey, &name).await && is_shown(&other, &name).await);
    assert!(in_catalogue(&journey, &name).await.is_none());

    allowed["allowedAccountIds"] = json!([account(&other), account(&journey)]);
    put(&support, &allowed, 2).await.unwrap();
    ask_until(&journey, &name, 200).await;
    assert!(is_shown(&journey, &name).await);
    delete(&support, &name, 3).await.unwrap();
    gone(&other, &name).await;
    assert!(!is_shown(&other, &name).await);
}

#[tokio::test]
async fn who_is_not_of_support_changes_neither_routes_nor_limits() {
    let (auditor, finance) = (operator("auditor").await, operator("finance").await);
    let journey = customer().await;
    let (name, of) = (request_id(), account(&journey));
    let limits = json!({"requestsPerMinute": "1000000"});
    let changes = [
        (PUT, json!({"route": route(&name), "expectedVersion": "0"})),
        (DELETE, json!({"name": name, "expectedVersion": "1"})),
        (SET, json!({"accountId": of, "limits": limits})),
    ];
    let reads = [(LIST, json!({})), (GET, json!({"accountId": of}))];
    let refused = async |bearer: &str, (method, body): &(&str, Value)| {
        let outcome = journey.api().call(method, Some(bearer), body.clone()).await;
        assert_eq!(reason(outcome), (403, "NOT_ALLOWED".to_owned()), "{method}");
    };
    for change in &changes {
        refused(auditor.token(), change).await;
    }
    for any in changes.iter().chain(&reads) {
        for bearer in [finance.token(), journey.token(), journey.secret()] {
            refused(bearer, any).await;
        }
    }
    assert!(listed(&auditor, &name).await.is_none());
    let limits = limits_of(&auditor, of).await;
    assert!(limits["changeTime"].is_null(), "{limits}");
}

/// Sets limits of an account; answers what holds, which is read back.
async fn set_limits(operator: &Operator, account: &str, limits: Value) -> Value {
    let body = json!({"accountId": account, "limits": limits});
    let set = operator.call(SET, body).await.unwrap();
    assert_eq!(limits_of(operator, account).await, set["limits"]);
    set["limits"].clone()
}

/// The account's own limits.
async fn limits_of(operator: &Operator, account: &str) -> Value {
    let body = json!({"accountId": account});
    let read = operator.call(GET, body).await.unwrap();
    read["limits"][0].clone()
}

/// A call was refused because of the requests of a minute, of which there are so many.
async fn over_the_limit(refused: Response, limit: u64) {
    assert_eq!(refused.status(), 429);
    let after = refused.headers()["retry-after"].to_str().unwrap();
    let after: u64 = after.parse().unwrap();
    assert!((1..=60 / limit).contains(&after), "{after}");
    let error = document(refused).await["error"].clone();
    assert_eq!(error["code"], "rate_limit_exceeded");
    assert_eq!(error["type"], "requests");
    let message = error["message"].as_str().unwrap();
    let reached = "the requests_per_minute limit of the account is reached";
    assert!(message.ends_with(reached), "{message}");
}

#[tokio::test]
async fn an_operator_narrows_what_an_account_may_call_and_widens_it_again() {
    const LIMIT: u64 = 2;
    let (support, journey) = (operator("support").await, customer().await);
    let of = account(&journey);
    let of_the_platform = limits_of(&support, of).await;
    assert!(of_the_platform["changeTime"].is_null(), "{of_the_platform}");

    let narrow = json!({"requestsPerMinute": LIMIT.to_string()});
    let kept = set_limits(&support, of, narrow).await;
    let (set, platform) = (&kept["limits"], &of_the_platform["limits"]);
    assert_eq!(set["requestsPerMinute"], LIMIT.to_string());
    assert_eq!(set["tokensPerMinute"], platform["tokensPerMinute"]);
    assert!(kept["changeTime"].is_string(), "{kept}");
    let (surplus, answered) = ask_until(&journey, "scripted", 429).await;
    assert!(answered >= LIMIT, "{answered}");
    over_the_limit(surplus, LIMIT).await;
    for _ in 0..4 {
        over_the_limit(ask(&journey, "scripted").await, LIMIT).await;
    }

    let wide = json!({"requestsPerMinute": "1000000"});
    set_limits(&support, of, wide).await;
    ask_until(&journey, "scripted", 200).await;
    for _ in 0..4 * LIMIT {
        assert_eq!(ask(&journey, "scripted").await.status(), 200);
    }
    // Nothing of its own: the platform's hold again.
    let kept = set_limits(&support, of, json!({})).await;
    assert_eq!(kept, of_the_platform);
    assert_eq!(ask(&journey, "scripted").await.status(), 200);
}
