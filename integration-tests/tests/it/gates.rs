//! What an account must have done before it may call: each refusal goes away with its cause.

use std::time::Duration;

use integration_tests::journey::{Journey, Operator, Person};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::world::{call, customer, reason, refused_within, request_id, stack};

const SECOND: Duration = Duration::from_millis(1000);

/// The codes that a person got by now were sent a minute earlier.
async fn a_minute_passes_since_the_code_of(journey: &Journey) {
    let account = &journey.session.as_ref().unwrap().account_id;
    let url = stack().database_url("identity");
    let mut identity = PgConnection::connect(&url).await.unwrap();
    let older = sqlx::query(
        "update codes set sent_at = sent_at - interval '1 minute'
         where phone_mac = (select index_mac from phones where account_id = $1::uuid)",
    )
    .bind(account)
    .execute(&mut identity)
    .await
    .unwrap();
    assert_eq!(older.rows_affected(), 1, "the code to register with");
}

#[tokio::test]
async fn registration_must_name_exactly_the_current_agreements() {
    let stack = stack();
    let journey = Journey::new(&stack);
    let code = journey.code().await.unwrap();
    let register = |accepted: Vec<String>| {
        let body = json!({
            "phone": journey.person.phone,
            "code": code,
            "acceptedAgreementVersionIds": accepted,
        });
        let api = journey.api().clone();
        async move {
            api.call("wanwu.identity.v1.SessionService/Register", None, body)
                .await
        }
    };
    let (status, why) = reason(register(Vec::new()).await);
    assert_eq!((status, why.as_str()), (400, "AGREEMENTS_NOT_ACCEPTED"));
    let stranger = "018e5ca3-0000-7000-8000-0000000000ff".to_owned();
    assert_eq!(
        reason(register(vec![stranger]).await).1,
        "AGREEMENTS_NOT_ACCEPTED"
    );

    // The code is still good for the person who now accepts what is current.
    let current = journey.current_agreements().await.unwrap();
    let current = current
        .iter()
        .map(|v| v["versionId"].as_str().unwrap().to_owned());
    register(current.collect()).await.unwrap();
}

#[tokio::test]
async fn without_a_real_name_no_app_and_no_order() {
    let mut journey = Journey::new(&stack());
    journey.register().await.unwrap();
    let app = json!({"requestId": request_id(), "name": "x"});
    let outcome = journey
        .call("wanwu.identity.v1.AppService/CreateApp", app)
        .await;
    assert_eq!(reason(outcome).1, "REAL_NAME_REQUIRED");
    let order = json!({
        "requestId": request_id(),
        "amount": {"currencyCode": "CNY", "units": "1"},
        "provider": "PAYMENT_PROVIDER_WECHAT_NATIVE",
    });
    let outcome = journey
        .call("wanwu.billing.v1.OrderService/CreateTopUpOrder", order)
        .await;
    assert_eq!(reason(outcome).1, "REAL_NAME_REQUIRED");
}

#[tokio::test]
async fn a_real_name_needs_its_own_consent_and_a_number_that_is_one() {
    let mut journey = Journey::new(&stack());
    journey.register().await.unwrap();
    let submit = |number: String, consent: String| {
        let body = json!({
            "requestId": request_id(),
            "name": journey.person.name,
            "residentId": number,
            "consentId": consent,
        });
        let journey = journey.clone();
        async move {
            journey
                .call(
                    "wanwu.verification.v1.VerificationService/SubmitRealName",
                    body,
                )
                .await
        }
    };
    let number = journey.person.resident_id.clone();
    assert_eq!(
        reason(submit(number, request_id()).await).1,
        "CONSENT_REQUIRED"
    );
    let consent = journey.consent("real_name_agency_query").await.unwrap();
    let mut wrong = journey.person.resident_id.clone();
    let last = if wrong.ends_with('1') { "2" } else { "1" };
    wrong.replace_range(17.., last);
    assert_eq!(
        reason(submit(wrong, consent).await),
        (400, "INVALID_ARGUMENT".to_owned())
    );
}

#[tokio::test]
async fn somebody_whom_the_agency_does_not_know_stays_unverified() {
    let mut journey = Journey::new(&stack());
    journey.register().await.unwrap();
    // Nobody told the agency of this person.
    let consent = journey.consent("real_name_agency_query").await.unwrap();
    let state = journey.submit_real_name(&consent).await.unwrap();
    assert_eq!(state, "VERIFICATION_STATE_REJECTED");
    let app = json!({"requestId": request_id(), "name": "x"});
    let outcome = journey
        .call("wanwu.identity.v1.AppService/CreateApp", app)
        .await;
    assert_eq!(reason(outcome).1, "REAL_NAME_REQUIRED");
}

#[tokio::test]
async fn a_minor_waits_for_a_guardian_and_a_child_under_8_is_refused() {
    let stack = stack();
    let mut minor = Journey::of(&stack, Person::aged(15));
    minor.register().await.unwrap();
    minor.verify_real_name().await.unwrap();
    assert_eq!(
        reason(minor.app("x").await.map(drop)).1,
        "GUARDIAN_CONSENT_REQUIRED"
    );

    let mut guardian = Journey::new(&stack);
    guardian.register().await.unwrap();
    guardian.verify_real_name().await.unwrap();
    tokio::time::sleep(SECOND).await;
    let ward = minor.session.as_ref().unwrap().account_id.clone();
    // The number just got a sign-in code: the next one may be sent a minute later.
    let seen = guardian
        .simulated()
        .messages(&guardian.person.phone)
        .await
        .unwrap()
        .len();
    let start = || {
        let method = "wanwu.privacy.v1.GuardianService/StartGuardianConsent";
        guardian.call(method, json!({"wardAccountId": ward}))
    };
    assert_eq!(reason(start().await).1, "RATE_LIMITED");
    a_minute_passes_since_the_code_of(&guardian).await;
    start().await.unwrap();
    let code = guardian
        .simulated()
        .code(&guardian.person.phone, seen)
        .await
        .unwrap();
    let confirm = |code: &str| {
        let body = json!({"wardAccountId": ward, "code": code});
        let guardian = guardian.clone();
        async move {
            guardian
                .call(
                    "wanwu.privacy.v1.GuardianService/ConfirmGuardianConsent",
                    body,
                )
                .await
        }
    };
    let wrong = if code == "000000" { "000001" } else { "000000" };
    assert_eq!(reason(confirm(wrong).await).1, "CODE_INVALID");
    confirm(&code).await.unwrap();
    tokio::time::sleep(SECOND).await;
    minor.app("x").await.unwrap();

    let mut child = Journey::of(&stack, Person::aged(7));
    child.register().await.unwrap();
    child.verify_real_name().await.unwrap();
    assert_eq!(reason(child.app("x").await.map(drop)).1, "AGE_REFUSED");
}

#[tokio::test]
async fn a_minor_cannot_be_a_guardian() {
    let stack = stack();
    let mut minor = Journey::of(&stack, Person::aged(16));
    minor.register().await.unwrap();
    minor.verify_real_name().await.unwrap();
    tokio::time::sleep(SECOND).await;
    let body = json!({"wardAccountId": request_id()});
    let outcome = minor
        .call(
            "wanwu.privacy.v1.GuardianService/StartGuardianConsent",
            body,
        )
        .await;
    assert_eq!(reason(outcome).1, "GUARDIAN_CONSENT_REQUIRED");
}

#[tokio::test]
async fn a_suspended_account_is_refused_within_a_second_and_lifted_again() {
    let stack = stack();
    let journey = customer().await;
    call(&journey).await.unwrap();
    let account = journey.session.as_ref().unwrap().account_id.clone();
    let operator = Operator::with_roles(&stack, &["security", "auditor"])
        .await
        .unwrap();
    operator.suspend(&account).await.unwrap();
    refused_within(&journey, "account_suspended", SECOND).await;
    operator.lift(&account).await.unwrap();
    tokio::time::sleep(SECOND).await;
    call(&journey).await.unwrap();

    let log = operator.call(
        "wanwu.identity.v1.OperatorService/ListAuditEntries",
        json!({}),
    );
    let log = log.await.unwrap();
    let entries = log["entries"].as_array().unwrap();
    let of_this = |action: &str| {
        entries
            .iter()
            .any(|entry| entry["objectId"] == *account && entry["action"] == action)
    };
    assert!(
        of_this("suspend_account") && of_this("lift_suspension"),
        "{log}"
    );
}

#[tokio::test]
async fn an_operator_without_the_role_cannot_suspend() {
    let stack = stack();
    let operator = Operator::with_roles(&stack, &["support"]).await.unwrap();
    let (status, why) = {
        let body = json!({
            "requestId": request_id(), "accountId": request_id(), "reasonCode": "abuse",
        });
        let method = "wanwu.identity.v1.OperatorService/SuspendAccount";
        reason(operator.call(method, body).await)
    };
    assert_eq!((status, why.as_str()), (403, "NOT_ALLOWED"));
}

#[tokio::test]
async fn a_withdrawn_consent_is_felt_within_a_second() {
    let journey = customer().await;
    call(&journey).await.unwrap();
    let body = json!({"purpose": "core_service"});
    journey
        .call("wanwu.privacy.v1.ConsentService/WithdrawConsent", body)
        .await
        .unwrap();
    refused_within(&journey, "consent_withdrawn", SECOND).await;
    journey.consent("core_service").await.unwrap();
    tokio::time::sleep(SECOND).await;
    call(&journey).await.unwrap();
}

#[tokio::test]
async fn a_revoked_key_is_refused_within_a_second() {
    let journey = customer().await;
    call(&journey).await.unwrap();
    journey.revoke_key().await.unwrap();
    refused_within(&journey, "invalid_api_key", SECOND).await;
}

#[tokio::test]
async fn a_client_outside_the_mainland_networks_is_refused() {
    let stack = stack();
    // Another loopback address stands for a foreign one: the table of the stack does not hold it.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    let client = reqwest::Client::builder()
        .local_address(Some("127.9.9.9".parse().unwrap()))
        .no_proxy()
        .build()
        .unwrap();
    let base = &stack.description().edge;
    let answer = client
        .post(format!(
            "{base}/wanwu.privacy.v1.AgreementService/ListCurrentAgreements"
        ))
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
    let body: serde_json::Value = answer.json().await.unwrap();
    assert!(body.to_string().contains("NETWORK_NOT_ALLOWED"), "{body}");
    let health = client.get(format!("{base}/healthz")).send().await.unwrap();
    assert!(health.status().is_success(), "health is outside the gate");
}
