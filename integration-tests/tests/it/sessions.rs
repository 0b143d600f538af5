//! Sessions: tokens that rotate, and end.

use std::time::{Duration, Instant};

use integration_tests::journey::Journey;
use serde_json::json;

use crate::world::{reason, stack};

const REFRESH: &str = "wanwu.identity.v1.SessionService/RefreshSession";
const APPS: &str = "wanwu.identity.v1.AppService/ListApps";

async fn refused(journey: &Journey, token: &str) {
    let begin = Instant::now();
    loop {
        if let Err(error) = journey.api().call(APPS, Some(token), json!({})).await {
            assert_eq!(error.status(), 401);
            return;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(1),
            "the token is still taken"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_refresh_token_that_is_used_twice_ends_its_family() {
    let mut journey = Journey::new(&stack());
    let first = journey.register().await.unwrap().clone();
    let refresh = |token: String| {
        let api = journey.api().clone();
        async move {
            api.call(REFRESH, None, json!({"refreshToken": token}))
                .await
        }
    };
    let second = refresh(first.refresh_token.clone()).await.unwrap();
    let access = second["tokens"]["accessToken"].as_str().unwrap().to_owned();
    journey
        .api()
        .call(APPS, Some(&access), json!({}))
        .await
        .unwrap();

    assert_eq!(reason(refresh(first.refresh_token.clone()).await).0, 401);
    refused(&journey, &access).await;
    refused(&journey, &first.access_token).await;
    let newest = second["tokens"]["refreshToken"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(reason(refresh(newest).await).0, 401);
}

#[tokio::test]
async fn whoever_signs_out_is_out_within_a_second() {
    let mut journey = Journey::new(&stack());
    let session = journey.register().await.unwrap().clone();
    journey.call(APPS, json!({})).await.unwrap();
    journey
        .call("wanwu.identity.v1.SessionService/SignOut", json!({}))
        .await
        .unwrap();
    refused(&journey, &session.access_token).await;
    let body = json!({"refreshToken": session.refresh_token});
    assert_eq!(reason(journey.api().call(REFRESH, None, body).await).0, 401);
}

#[tokio::test]
async fn a_key_is_shown_once_and_a_repeated_request_makes_no_second_one() {
    let mut journey = Journey::new(&stack());
    journey.register().await.unwrap();
    journey.verify_real_name().await.unwrap();
    let app = journey.app("x").await.unwrap().app_id.clone();
    let body = json!({
        "requestId": uuid::Uuid::new_v4(), "appId": app, "scopes": ["chat"],
    });
    let create = |body: serde_json::Value| {
        let journey = journey.clone();
        async move {
            journey
                .call("wanwu.identity.v1.ApiKeyService/CreateApiKey", body)
                .await
        }
    };
    let first = create(body.clone()).await.unwrap();
    assert!(first["secret"].as_str().unwrap().starts_with("wk-"));
    let again = create(body.clone()).await.unwrap();
    assert_eq!(again["apiKey"]["keyId"], first["apiKey"]["keyId"]);
    assert_eq!(again["secret"].as_str().unwrap_or_default(), "");
    let mut other = body;
    other["scopes"] = json!(["chat", "chat"]);
    assert_eq!(reason(create(other).await).1, "REQUEST_ID_REUSED");
    let listed = journey
        .call(
            "wanwu.identity.v1.ApiKeyService/ListApiKeys",
            json!({"appId": app}),
        )
        .await
        .unwrap();
    assert_eq!(listed["apiKeys"].as_array().unwrap().len(), 1);
    assert!(!listed.to_string().contains("secret"));
}
