use serde_json::{Value, json};

use crate::world::{ABROAD, World};

#[tokio::test(flavor = "multi_thread")]
async fn models_have_the_shape_of_openai() {
    let world = World::start().await;
    let (key, _) = world.identity.key(&["chat"]);
    let get = |path: &str| world.get(path).bearer_auth(&key).send();
    let listed: Value = get("/v1/models").await.unwrap().json().await.unwrap();
    let qwen = json!({
        "id": "Qwen/Qwen3", "object": "model", "created": 1_790_000_000, "owned_by": "wanwu",
    });
    assert_eq!(listed["object"], "list");
    assert_eq!(listed["data"][0], qwen);
    assert_eq!(listed["data"][1]["id"], "small");
    for path in ["/v1/models/Qwen/Qwen3", "/v1/models/Qwen%2FQwen3"] {
        let one: Value = get(path).await.unwrap().json().await.unwrap();
        assert_eq!(one, qwen);
    }
    let unknown = get("/v1/models/gpt").await.unwrap();
    assert_eq!(unknown.status(), 404);
    let body: Value = unknown.json().await.unwrap();
    assert_eq!(body["error"]["code"], "model_not_found");
    assert_eq!(world.get("/v1/models").send().await.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_reaches_billing_as_it_is() {
    let world = World::start().await;
    let path = "/payments/wechat/callback";
    let request = |signature: &str| {
        world
            .http_from(ABROAD, reqwest::Method::POST, path)
            .header("content-type", "application/json")
            .header("wechatpay-serial", "PUB_KEY_ID_1")
            .header("wechatpay-timestamp", "1795406400")
            .header("wechatpay-nonce", "nonce")
            .header("wechatpay-signature", signature)
            .body("{ \"id\" : 1 }")
    };
    let answer = request("good").send().await.unwrap();
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.text().await.unwrap(), "");
    let answer = request("bad").send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "FAIL");
    let heard = world.echo.callbacks.lock()[0].clone();
    assert_eq!(heard.body, b"{ \"id\" : 1 }");
    assert_eq!(heard.serial, "PUB_KEY_ID_1");
    assert_eq!(
        (heard.timestamp.as_str(), heard.nonce.as_str()),
        ("1795406400", "nonce")
    );
    let large = request("good")
        .body("x".repeat(70_000))
        .send()
        .await
        .unwrap();
    assert_eq!(large.status(), 413);
    assert_eq!(large.json::<Value>().await.unwrap()["code"], "FAIL");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_alipay_reaches_billing_as_it_is_and_is_answered_in_its_words() {
    let world = World::start().await;
    for (body, status, words) in [
        ("sign=%2B+good", 200, "success"),
        ("sign=%2B+bad", 401, "failure"),
    ] {
        let path = "/payments/alipay/callback";
        let answer = world
            .http_from(ABROAD, reqwest::Method::POST, path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.text().await.unwrap(), words);
    }
}
