use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Api, ApiError, Person, Simulated};
use crate::stack::Stack;

/// What changes a standing is felt everywhere within one second.
const VERIFIED: &str = "VERIFICATION_STATE_VERIFIED";
const FELT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);

/// One customer on the way through the platform.
#[derive(Clone, Debug)]
pub struct Journey {
    pub(crate) api: Api,
    pub(crate) simulated: Simulated,
    pub(crate) stack: Stack,
    /// Who it is.
    pub person: Person,
    /// Set by [`register`](Self::register).
    pub session: Option<Session>,
    /// Set by [`app`](Self::app).
    pub app: Option<App>,
    /// Set by [`key`](Self::key).
    pub key: Option<Key>,
    /// When the real name was verified.
    verified: Option<Instant>,
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Session {
    /// The account.
    pub account_id: String,
    /// For ten minutes.
    pub access_token: String,
    /// For one change.
    pub refresh_token: String,
}

/// An app of the customer.
#[derive(Clone, Debug)]
pub struct App {
    /// Its id.
    pub app_id: String,
}

/// A key of the app.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its id.
    pub key_id: String,
    /// What calls present: `wk-...`.
    pub secret: String,
}

impl Journey {
    /// A new adult customer.
    #[must_use]
    pub fn new(stack: &Stack) -> Self {
        Self::of(stack, Person::adult())
    }

    /// A customer who is a certain person.
    #[must_use]
    pub fn of(stack: &Stack, person: Person) -> Self {
        Self {
            api: Api::new(&stack.description().edge),
            simulated: Simulated::new(stack),
            stack: stack.clone(),
            person,
            session: None,
            app: None,
            key: None,
            verified: None,
        }
    }

    /// A customer who may call a model: registered, verified, with `fen` of credit, an app and a
    /// key.
    ///
    /// # Errors
    /// When one of the steps is refused.
    pub async fn ready_to_call(stack: &Stack, fen: i64) -> Result<Self, ApiError> {
        let mut journey = Self::new(stack);
        journey.register().await?;
        let state = journey.verify_real_name().await?;
        if state != VERIFIED {
            return Err(ApiError::Lacks(format!("a real name: it is {state}")));
        }
        journey.top_up(fen).await?;
        journey.app("integration").await?;
        journey.key().await?;
        Ok(journey)
    }

    /// The client of the public API.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The world around the platform.
    #[must_use]
    pub fn simulated(&self) -> &Simulated {
        &self.simulated
    }

    /// The access token.
    ///
    /// # Panics
    /// Before [`register`](Self::register).
    #[must_use]
    pub fn token(&self) -> &str {
        &self
            .session
            .as_ref()
            .expect("the customer is registered")
            .access_token
    }

    /// The API key.
    ///
    /// # Panics
    /// Before [`key`](Self::key).
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.key.as_ref().expect("the customer has a key").secret
    }

    /// Calls a method as the customer.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn call(&self, method: &str, body: Value) -> Result<Value, ApiError> {
        self.api.call(method, Some(self.token()), body).await
    }

    /// Calls a method that wants the real name. Within the second that a fresh verification may
    /// take to be felt everywhere, a refusal is asked again.
    ///
    /// # Errors
    /// When it is refused.
    pub(crate) async fn call_verified(&self, method: &str, body: Value) -> Result<Value, ApiError> {
        loop {
            let answer = self.call(method, body.clone()).await;
            let fresh = self
                .verified
                .is_some_and(|verified| verified.elapsed() < FELT);
            match answer {
                Err(error) if fresh && error.reason() == "REAL_NAME_REQUIRED" => {
                    tokio::time::sleep(POLL).await;
                }
                answer => return answer,
            }
        }
    }

    /// Has a code sent to the phone and reads it there.
    ///
    /// # Errors
    /// When it is refused or does not come.
    pub async fn code(&self) -> Result<String, ApiError> {
        let seen = self.simulated.messages(&self.person.phone).await?.len();
        let body = json!({"phone": self.person.phone});
        self.api
            .call(
                "wanwu.identity.v1.SessionService/SendVerificationCode",
                None,
                body,
            )
            .await?;
        self.simulated.code(&self.person.phone, seen).await
    }

    /// The versions of the agreements that are in force.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn current_agreements(&self) -> Result<Vec<Value>, ApiError> {
        let method = "wanwu.privacy.v1.AgreementService/ListCurrentAgreements";
        let answer = self.api.call(method, None, json!({})).await?;
        Ok(answer["versions"].as_array().cloned().unwrap_or_default())
    }

    /// Registers with a code and the agreements in force.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn register(&mut self) -> Result<&Session, ApiError> {
        let code = self.code().await?;
        self.register_with(&code).await
    }

    /// Registers with a code that was read before.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn register_with(&mut self, code: &str) -> Result<&Session, ApiError> {
        let agreements = self.current_agreements().await?;
        let versions: Vec<&Value> = agreements
            .iter()
            .map(|version| &version["versionId"])
            .collect();
        let body = json!({
            "phone": self.person.phone,
            "code": code,
            "acceptedAgreementVersionIds": versions,
        });
        let answer = self
            .api
            .call("wanwu.identity.v1.SessionService/Register", None, body)
            .await?;
        Ok(self.session.insert(session(&answer)?))
    }

    /// Signs in with a new code.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn sign_in(&mut self) -> Result<&Session, ApiError> {
        let body = json!({"phone": self.person.phone, "code": self.code().await?});
        let answer = self
            .api
            .call("wanwu.identity.v1.SessionService/SignIn", None, body)
            .await?;
        Ok(self.session.insert(session(&answer)?))
    }

    /// Consents to a purpose, as its text is shown now; answers the consent's id.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn consent(&self, purpose: &str) -> Result<String, ApiError> {
        let list = "wanwu.privacy.v1.ConsentService/ListPurposes";
        let purposes = self.api.call(list, None, json!({})).await?;
        let known = purposes["purposes"].as_array();
        let shown = known.and_then(|list| list.iter().find(|known| known["code"] == purpose));
        let shown = shown.ok_or_else(|| ApiError::Lacks(format!("purpose {purpose}")))?;
        let body = json!({
            "requestId": Uuid::now_v7(),
            "purpose": purpose,
            "textSha256": shown["textSha256"],
        });
        let answer = self
            .call("wanwu.privacy.v1.ConsentService/GiveConsent", body)
            .await?;
        text(&answer["consent"]["consentId"], "consent")
    }

    /// Proves who the customer is: the agency knows the person, one consent, one query.
    /// Answers the state of the verification.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn verify_real_name(&mut self) -> Result<String, ApiError> {
        self.simulated.know(&self.person).await?;
        let consent = self.consent("real_name_agency_query").await?;
        self.submit_real_name(&consent).await
    }

    /// Submits name and number under a consent; answers the state of the verification.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn submit_real_name(&mut self, consent_id: &str) -> Result<String, ApiError> {
        let body = json!({
            "requestId": Uuid::now_v7(),
            "name": self.person.name,
            "residentId": self.person.resident_id,
            "consentId": consent_id,
        });
        let method = "wanwu.verification.v1.VerificationService/SubmitRealName";
        let answer = self.call(method, body).await?;
        let state = text(
            &answer["verification"]["state"],
            "state of the verification",
        )?;
        if state == VERIFIED {
            self.verified = Some(Instant::now());
        }
        Ok(state)
    }

    /// Makes an app.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn app(&mut self, name: &str) -> Result<&App, ApiError> {
        let body = json!({"requestId": Uuid::now_v7(), "name": name});
        let answer = self
            .call_verified("wanwu.identity.v1.AppService/CreateApp", body)
            .await?;
        let app_id = text(&answer["app"]["appId"], "app")?;
        Ok(self.app.insert(App { app_id }))
    }

    /// Makes a key for chat.
    ///
    /// # Errors
    /// When it is refused.
    ///
    /// # Panics
    /// Before [`app`](Self::app).
    pub async fn key(&mut self) -> Result<&Key, ApiError> {
        self.key_for(&["chat"]).await
    }

    /// Makes a key for these capabilities.
    ///
    /// # Errors
    /// When it is refused.
    ///
    /// # Panics
    /// Before [`app`](Self::app).
    pub async fn key_for(&mut self, scopes: &[&str]) -> Result<&Key, ApiError> {
        let app = self.app.as_ref().expect("the customer has an app");
        let body = json!({"requestId": Uuid::now_v7(), "appId": app.app_id, "scopes": scopes});
        let answer = self
            .call_verified("wanwu.identity.v1.ApiKeyService/CreateApiKey", body)
            .await?;
        let key_id = text(&answer["apiKey"]["keyId"], "key")?;
        let secret = text(&answer["secret"], "secret of the key")?;
        Ok(self.key.insert(Key { key_id, secret }))
    }

    /// Revokes the key.
    ///
    /// # Errors
    /// When it is refused.
    ///
    /// # Panics
    /// Before [`key`](Self::key).
    pub async fn revoke_key(&self) -> Result<(), ApiError> {
        let key = self.key.as_ref().expect("the customer has a key");
        let body = json!({"keyId": key.key_id});
        self.call("wanwu.identity.v1.ApiKeyService/RevokeApiKey", body)
            .await
            .map(drop)
    }
}

fn session(answer: &Value) -> Result<Session, ApiError> {
    Ok(Session {
        account_id: text(&answer["accountId"], "account")?,
        access_token: text(&answer["tokens"]["accessToken"], "access token")?,
        refresh_token: text(&answer["tokens"]["refreshToken"], "refresh token")?,
    })
}

pub(crate) fn text(value: &Value, what: &str) -> Result<String, ApiError> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned)
        .ok_or_else(|| ApiError::Lacks(what.to_owned()))
}
