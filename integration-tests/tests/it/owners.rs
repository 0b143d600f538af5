//! What is somebody else's is not there.

use serde_json::{Value, json};

use crate::world::{call, customer, reason, request_id, stack};

#[tokio::test]
async fn an_object_of_another_account_is_not_found_by_any_rpc() {
    let owner = customer().await;
    let other = customer().await;
    let order = owner.order(100).await.unwrap();
    let answer = call(&owner).await.unwrap();
    let app = &owner.app.as_ref().unwrap().app_id;
    let key = &owner.key.as_ref().unwrap().key_id;
    let registered = owner
        .api()
        .call(
            "wanwu.device.v1.DeviceService/RegisterDevice",
            Some(owner.secret()),
            json!({"kind": "DEVICE_IDENTIFIER_KIND_OAID", "identifier": request_id()}),
        )
        .await
        .unwrap();
    let device = registered["deviceId"].as_str().unwrap();
    let cases: [(&str, Value); 10] = [
        ("wanwu.identity.v1.AppService/GetApp", json!({"appId": app})),
        (
            "wanwu.identity.v1.ApiKeyService/ListApiKeys",
            json!({"appId": app}),
        ),
        (
            "wanwu.identity.v1.ApiKeyService/RevokeApiKey",
            json!({"keyId": key}),
        ),
        (
            "wanwu.identity.v1.ApiKeyService/CreateApiKey",
            json!({"requestId": request_id(), "appId": app, "scopes": ["chat"]}),
        ),
        (
            "wanwu.billing.v1.OrderService/GetOrder",
            json!({"orderId": order}),
        ),
        (
            "wanwu.billing.v1.BalanceService/GetCallBill",
            json!({"callId": answer.call_id}),
        ),
        (
            "wanwu.inference.v1.CallService/GetCall",
            json!({"callId": answer.call_id}),
        ),
        (
            "wanwu.device.v1.LicenceService/SetDemand",
            json!({"appId": app, "capability": "chat", "demanded": true}),
        ),
        (
            "wanwu.device.v1.LicenceService/GrantLicence",
            json!({"deviceId": device, "capability": "chat"}),
        ),
        (
            "wanwu.device.v1.LicenceService/RevokeLicence",
            json!({"deviceId": device, "capability": "chat"}),
        ),
    ];
    for (method, body) in cases {
        let (status, why) = reason(other.call(method, body).await);
        assert_eq!((status, why.as_str()), (404, "NOT_FOUND"), "{method}");
    }
    // The key lives on, and what is listed is one's own.
    call(&owner).await.unwrap();
    for method in [
        "wanwu.identity.v1.AppService/ListApps",
        "wanwu.billing.v1.OrderService/ListOrders",
        "wanwu.inference.v1.CallService/ListCalls",
        "wanwu.billing.v1.BalanceService/ListStatementLines",
    ] {
        let listed = other.call(method, json!({})).await.unwrap().to_string();
        for id in [app, key, &order, &answer.call_id] {
            assert!(!listed.contains(id.as_str()), "{method} shows {id}");
        }
    }
}

#[tokio::test]
async fn without_a_credential_or_with_a_wrong_one_nobody_is_let_in() {
    let stack = stack();
    let journey = customer().await;
    let method = "wanwu.billing.v1.BalanceService/GetBalance";
    let api = journey.api();
    assert_eq!(reason(api.call(method, None, json!({})).await).0, 401);
    let mut wrong = journey.token().to_owned();
    let last = if wrong.ends_with('A') { "B" } else { "A" };
    wrong.replace_range(wrong.len() - 1.., last);
    for bearer in [wrong.as_str(), "ws-x", "nonsense", journey.secret()] {
        let (status, _) = reason(api.call(method, Some(bearer), json!({})).await);
        assert!(matches!(status, 401 | 403), "{bearer}: {status}");
    }
    // What is for services only is not for anybody through the edge.
    let body = json!({"accountId": request_id()});
    let internal = "wanwu.identity.v1.StandingService/GetStanding";
    let (status, _) = reason(api.call(internal, Some(journey.token()), body).await);
    assert!(matches!(status, 403 | 404), "{status}");
    drop(stack);
}
