use serde_json::{Value, json};

use crate::world::World;

const SAY: &str = "/wanwu.billing.v1.EchoService/Say";

#[tokio::test(flavor = "multi_thread")]
async fn a_method_is_called_with_json() {
    let world = World::start().await;
    let body = json!({"text": "你好", "number": "9007199254740993"});
    let answer = world.post(SAY).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.headers()["wanwu-request-id"].len(), 36);
    assert_eq!(answer.headers()["wanwu-trace-id"].len(), 32);
    let said: Value = answer.json().await.unwrap();
    assert_eq!(
        said,
        json!({"saidText": "你好", "number": "9007199254740993"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_becomes_http_and_json() {
    let world = World::start().await;
    let answer = world
        .post(SAY)
        .json(&json!({"text": "fail"}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 400);
    let body: Value = answer.json().await.unwrap();
    let expected = json!({
        "code": 9,
        "message": "there are too many",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "TOO_MANY", "domain": "billing.wanwu", "metadata": {"limit": "3"},
            },
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": "text", "description": "must be kinder"}],
            },
        ],
    });
    assert_eq!(body, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_edge_have_the_same_shape() {
    let world = World::start_with("[limits]\nmax_json_body = 1000").await;
    let (key, _) = world.identity.key(&["speech"]);
    let path = |method: &str| format!("/wanwu.billing.v1.EchoService/{method}");
    let cases = [
        (
            world.post(&path("SayAsAccount")).body("{}"),
            401,
            "UNAUTHENTICATED",
        ),
        (
            world.post(&path("Say")).bearer_auth("x").body("{}"),
            401,
            "INVALID_CREDENTIAL",
        ),
        (
            world.post(&path("SayAsKey")).bearer_auth(&key).body("{}"),
            403,
            "SCOPE_MISSING",
        ),
        (
            world.post(&path("SayNothing")).body("{}"),
            404,
            "UNKNOWN_METHOD",
        ),
        (
            world.post(&path("SayInside")).body("{}"),
            404,
            "UNKNOWN_METHOD",
        ),
        (world.post(&path("Count")).body("{}"), 404, "UNKNOWN_METHOD"),
        (world.post(SAY).body("{\"text\": "), 400, "INVALID_ARGUMENT"),
        (
            world.post(SAY).body("{\"txt\": \"\"}"),
            400,
            "INVALID_ARGUMENT",
        ),
        (world.post(SAY).body(" ".repeat(1001)), 413, "TOO_LARGE"),
    ];
    for (request, status, reason) in cases {
        let answer = request
            .header("content-type", "application/json")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{reason}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["details"][0]["reason"], reason);
        assert_eq!(body["details"][0]["domain"], "wanwu");
    }
    assert_eq!(world.echo.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_far_too_large_still_gets_its_answer() {
    let world = World::start().await;
    let body = vec![b' '; 8 << 20];
    let request = world
        .post(SAY)
        .header("content-type", "application/json")
        .body(body);
    assert_eq!(request.send().await.unwrap().status(), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_says_which_service_is_meant() {
    let world = World::start().await;
    let operator = world.identity.operator(wanwu_access::OperatorRole::Support);
    let path = "/wanwu.operations.v1.DeadLetterService/ListDeadLetters";
    let ask = |service: Option<&str>| {
        let request = world.post(path).bearer_auth(&operator).json(&json!({}));
        match service {
            Some(service) => request.header("target-service", service),
            None => request,
        }
    };
    let answer = ask(Some("billing")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(world.echo.calls.lock().last().unwrap().0, "ListDeadLetters");
    for service in [None, Some("nobody")] {
        let answer = ask(service).send().await.unwrap();
        assert_eq!(answer.status(), 400);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(
            body["details"][1]["fieldViolations"][0]["field"],
            "target-service"
        );
    }
}
