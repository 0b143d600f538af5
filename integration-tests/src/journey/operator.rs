use std::{
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};
use totp_rs::{Algorithm, Secret, TOTP};
use uuid::Uuid;

use super::{Api, ApiError, customer::text};
use crate::stack::{Stack, as_owner};

/// An operator who is signed in.
#[derive(Clone, Debug)]
pub struct Operator {
    api: Api,
    token: String,
    /// The operator.
    pub operator_id: String,
}

/// What `identity operator create` prints.
#[derive(Deserialize)]
struct Made {
    operator_id: String,
    name: String,
    password: String,
    totp_secret: String,
}

impl Operator {
    /// Makes an operator with roles (`security`, `finance`, `auditor`, ...) on the host, as an
    /// administrator would, and signs in.
    ///
    /// # Errors
    /// When either is refused.
    pub async fn with_roles(stack: &Stack, roles: &[&str]) -> anyhow::Result<Self> {
        let made = make(stack, roles)?;
        let body = json!({
            "name": made.name,
            "password": made.password,
            "totp": code(&made.totp_secret)?,
        });
        let api = Api::new(&stack.description().edge);
        let method = "wanwu.identity.v1.OperatorService/SignInOperator";
        let answer = api.call(method, None, body).await?;
        let token = text(&answer["accessToken"], "access token")?;
        Ok(Self {
            api,
            token,
            operator_id: made.operator_id,
        })
    }

    /// The session's token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Calls a method as the operator.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn call(&self, method: &str, body: Value) -> Result<Value, ApiError> {
        self.api.call(method, Some(&self.token), body).await
    }

    /// Calls a method that every service answers, of one of them.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn call_service(
        &self,
        service: &str,
        method: &str,
        body: Value,
    ) -> Result<Value, ApiError> {
        let call = self.api.call_service(service, method, &self.token, body);
        call.await
    }

    /// Suspends an account (role `security`).
    ///
    /// # Errors
    /// When it is refused.
    pub async fn suspend(&self, account_id: &str) -> Result<(), ApiError> {
        self.act("SuspendAccount", account_id).await
    }

    /// Lifts a suspension (role `security`).
    ///
    /// # Errors
    /// When it is refused.
    pub async fn lift(&self, account_id: &str) -> Result<(), ApiError> {
        self.act("LiftSuspension", account_id).await
    }

    async fn act(&self, method: &str, account_id: &str) -> Result<(), ApiError> {
        let body = json!({
            "requestId": Uuid::now_v7(),
            "accountId": account_id,
            "reasonCode": "abuse",
        });
        let method = format!("wanwu.identity.v1.OperatorService/{method}");
        self.call(&method, body).await.map(drop)
    }
}

fn make(stack: &Stack, roles: &[&str]) -> anyhow::Result<Made> {
    let description = stack.description();
    let name = format!("operator-{}", &Uuid::new_v4().simple().to_string()[..12]);
    let mut command = Command::new(description.binaries.join("identity"));
    command
        .arg("--config")
        .arg(&stack.service("identity").config);
    command.args(["operator", "create", "--name", &name]);
    for role in roles {
        command.args(["--role", role]);
    }
    command.current_dir(&description.dir);
    as_owner(&mut command, &description.dir)?;
    let output = command
        .output()
        .context("cannot run identity operator create")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "identity operator create: {errors}"
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.contains("totp_secret"));
    Ok(serde_json::from_str(
        line.context("identity operator create printed nothing")?,
    )?)
}

/// The code of an authenticator now.
fn code(secret: &str) -> anyhow::Result<String> {
    let secret = Secret::Encoded(secret.to_owned()).to_bytes();
    let secret = secret.map_err(|_| anyhow::anyhow!("the secret is not base32"))?;
    let authenticator = TOTP::new(Algorithm::SHA1, 6, 1, 30, secret)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(authenticator.generate(now.as_secs()))
}
