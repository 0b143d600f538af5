//! Devices: an app may demand a licensed one.

use std::time::Duration;

use integration_tests::journey::Journey;
use serde_json::{Value, json};

use crate::world::{call, customer, reason, refused_within, request_id, scripted};

const SECOND: Duration = Duration::from_millis(1000);

async fn register(journey: &Journey, kind: &str, identifier: &str) -> Result<Value, (u16, String)> {
    let body = json!({"kind": kind, "identifier": identifier});
    let method = "wanwu.device.v1.DeviceService/RegisterDevice";
    let outcome = journey
        .api()
        .call(method, Some(journey.secret()), body)
        .await;
    outcome.map_err(|error| (error.status(), error.reason().to_owned()))
}

/// A call with a device, and its HTTP status.
async fn call_with(journey: &Journey, device: &str) -> u16 {
    let answer = journey
        .api()
        .http()
        .post(format!("{}/v1/chat/completions", journey.api().base()))
        .bearer_auth(journey.secret())
        .header("wanwu-device", device)
        .json(&scripted(json!({"tokens": 2})))
        .send()
        .await
        .unwrap();
    answer.status().as_u16()
}

#[tokio::test]
async fn an_app_that_demands_a_licensed_device_is_refused_without_one() {
    let journey = customer().await;
    let oaid = request_id();
    let device = register(&journey, "DEVICE_IDENTIFIER_KIND_OAID", &oaid)
        .await
        .unwrap();
    let token = device["deviceToken"].as_str().unwrap().to_owned();
    let app = journey.app.as_ref().unwrap().app_id.clone();
    let licence = json!({"deviceId": device["deviceId"], "capability": "chat"});
    let demand = json!({"appId": app, "capability": "chat", "demanded": true});

    call(&journey).await.unwrap();
    journey
        .call("wanwu.device.v1.LicenceService/SetDemand", demand)
        .await
        .unwrap();
    refused_within(&journey, "device_licence_required", SECOND).await;
    assert_eq!(
        call_with(&journey, &token).await,
        403,
        "registered, not licensed"
    );

    let grant = "wanwu.device.v1.LicenceService/GrantLicence";
    journey.call(grant, licence.clone()).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(call_with(&journey, &token).await, 200);
    assert_eq!(
        call_with(&journey, &format!("{token}x")).await,
        403,
        "another secret"
    );
    // A new registration ends the older token.
    let renewed = register(&journey, "DEVICE_IDENTIFIER_KIND_OAID", &oaid)
        .await
        .unwrap();
    assert_eq!(renewed["deviceId"], device["deviceId"]);
    tokio::time::sleep(SECOND).await;
    assert_eq!(call_with(&journey, &token).await, 403);
    let token = renewed["deviceToken"].as_str().unwrap();
    assert_eq!(call_with(&journey, token).await, 200);

    let revoke = "wanwu.device.v1.LicenceService/RevokeLicence";
    journey.call(revoke, licence).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(call_with(&journey, token).await, 403);
}

#[tokio::test]
async fn identifiers_are_checked_and_kept_apart_by_app() {
    let journey = customer().await;
    for (kind, identifier) in [
        ("DEVICE_IDENTIFIER_KIND_OAID", "short"),
        (
            "DEVICE_IDENTIFIER_KIND_OAID",
            "00000000-0000-0000-0000-000000000000",
        ),
        ("DEVICE_IDENTIFIER_KIND_ANDROID_ID", "zzzzzzzzzzzzzzzz"),
        ("DEVICE_IDENTIFIER_KIND_ANDROID_ID", "0000000000000000"),
        ("DEVICE_IDENTIFIER_KIND_UNSPECIFIED", "0123456789abcdef"),
    ] {
        let outcome = register(&journey, kind, identifier).await;
        assert_eq!(
            outcome.unwrap_err(),
            (400, "INVALID_ARGUMENT".to_owned()),
            "{identifier}"
        );
    }
    let identifier = "0123456789abcdef";
    let kind = "DEVICE_IDENTIFIER_KIND_ANDROID_ID";
    let here = register(&journey, kind, identifier).await.unwrap();
    let other = customer().await;
    let there = register(&other, kind, identifier).await.unwrap();
    assert_ne!(here["deviceId"], there["deviceId"]);
    let person = journey
        .call("wanwu.device.v1.DeviceService/RegisterDevice", json!({}))
        .await;
    assert_eq!(
        reason(person).1,
        "NOT_ALLOWED",
        "an app registers devices, not a person"
    );
}
