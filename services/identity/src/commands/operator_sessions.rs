use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier, password_hash::SaltString};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;
use wanwu_ids::OperatorId;
use wanwu_personal::Aad;
use wanwu_proto::access::v1::{OperatorRole, OperatorSubject, Principal, principal::Subject};

use crate::{
    app::App,
    domain::{
        credential::{Credential, Kind},
        totp::Authenticator,
    },
    error::Error,
    store::{
        grants::{self, NewGrant},
        operators::{self, Operator},
    },
};

/// How long an operator's session lives.
const SESSION: Duration = Duration::minutes(15);
/// Failures within [`FAILURE_WINDOW`] after which a name is refused.
const MAX_FAILURES: i32 = 5;
const FAILURE_WINDOW: Duration = Duration::minutes(15);

/// An operator's three proofs.
pub struct SignInOperator {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
    /// The authenticator's digits.
    pub totp: String,
}

/// An open session.
pub struct OperatorSession {
    /// The bearer token.
    pub token: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// A new operator; what is shown once.
pub struct CreatedOperator {
    /// The operator.
    pub operator_id: OperatorId,
    /// The password.
    pub password: String,
    /// The authenticator's secret, Base32.
    pub totp_secret: String,
}

impl App {
    /// Makes an operator; on the host only.
    pub async fn create_operator(
        &self,
        name: &str,
        roles: &[OperatorRole],
    ) -> Result<CreatedOperator, Error> {
        let mut secret = [0; 20];
        self.entropy.fill(&mut secret);
        let mut password = [0; 18];
        self.entropy.fill(&mut password);
        let password = URL_SAFE_NO_PAD.encode(password);
        let operator_id: OperatorId = self.ids.id();
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let key = self.keys.key_in(&mut tx, operator_id.uuid(), now).await?;
        let row = operator_id.to_string();
        let operator = Operator {
            operator_id,
            name: name.to_owned(),
            password_hash: self.hash_password(password.clone()).await?,
            totp_sealed: key.seal(totp_aad(&row), &secret)?,
            totp_step: 0,
            roles: roles.iter().map(|role| i32::from(*role)).collect(),
            failures: 0,
            failures_since: None,
        };
        operators::insert(&mut tx, &operator, now).await?;
        tx.commit().await?;
        let totp_secret = totp_rs::Secret::Raw(secret.to_vec())
            .to_encoded()
            .to_string();
        Ok(CreatedOperator {
            operator_id,
            password,
            totp_secret,
        })
    }

    /// Opens a session by password and authenticator. Every failure costs the same and says the
    /// same; five of them lock the name for a quarter of an hour.
    pub async fn sign_in_operator(
        &self,
        command: SignInOperator,
    ) -> Result<OperatorSession, Error> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let Some(mut operator) = operators::lock(&mut tx, &command.name).await? else {
            // As much work as for a name that is known.
            self.hash_password(command.password).await?;
            return Err(Error::InvalidCredential);
        };
        if let Some(since) = operator.failures_since {
            let over = since + FAILURE_WINDOW;
            if now >= over {
                operator.failures = 0;
                operator.failures_since = None;
            } else if operator.failures >= MAX_FAILURES {
                let after = (over - now).to_std().unwrap_or_default();
                return Err(Error::RateLimited { after });
            }
        }
        let step = self.prove(&operator, command).await?;
        let Some(step) = step else {
            operator.failures += 1;
            operator.failures_since.get_or_insert(now);
            operators::save(&mut tx, &operator).await?;
            tx.commit().await?;
            return Err(Error::InvalidCredential);
        };
        operator.totp_step = step;
        operator.failures = 0;
        operator.failures_since = None;
        operators::save(&mut tx, &operator).await?;
        let session = self.open_operator_session(&mut tx, &operator, now).await?;
        tx.commit().await?;
        Ok(session)
    }

    async fn prove(
        &self,
        operator: &Operator,
        command: SignInOperator,
    ) -> Result<Option<i64>, Error> {
        let key = self.keys.existing(operator.operator_id.uuid()).await?;
        let row = operator.operator_id.to_string();
        let secret = key.open(totp_aad(&row), &operator.totp_sealed)?;
        let authenticator =
            Authenticator::new(secret.to_vec()).map_err(|_| Error::Secret("the authenticator"))?;
        let now = u64::try_from(self.clock.now().timestamp()).unwrap_or_default();
        let step = authenticator.step_of(&command.totp, now, operator.totp_step);
        let hash = operator.password_hash.clone();
        let right = blocking(move || {
            let hash = PasswordHash::new(&hash).map_err(|_| Error::Secret("the password"))?;
            Ok(Argon2::default()
                .verify_password(command.password.as_bytes(), &hash)
                .is_ok())
        })
        .await?;
        Ok(step.filter(|_| right))
    }

    async fn open_operator_session(
        &self,
        tx: &mut sqlx::PgConnection,
        operator: &Operator,
        now: DateTime<Utc>,
    ) -> sqlx::Result<OperatorSession> {
        let session_id: Uuid = self.ids.id::<()>().uuid();
        let credential = Credential::new(Kind::Operator, session_id, &*self.entropy);
        let subject = OperatorSubject {
            operator_id: operator.operator_id.to_string(),
            session_id: session_id.to_string(),
            roles: operator.roles.clone(),
        };
        let expires_at = now + SESSION;
        grants::insert(
            tx,
            &NewGrant {
                credential_id: session_id,
                session_id: None,
                secret_hash: &credential.secret_hash,
                principal: &Principal {
                    subject: Some(Subject::Operator(subject)),
                    ..Principal::default()
                },
                expires_at: Some(expires_at),
            },
        )
        .await?;
        Ok(OperatorSession {
            token: credential.text,
            expires_at,
        })
    }

    async fn hash_password(&self, password: String) -> Result<String, Error> {
        let mut salt = [0; 16];
        self.entropy.fill(&mut salt);
        blocking(move || {
            let salt = SaltString::encode_b64(&salt).map_err(|_| Error::Secret("the salt"))?;
            let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
            Ok(hash.map_err(|_| Error::Secret("the password"))?.to_string())
        })
        .await
    }
}

/// Hashing takes long on purpose: not on a thread that answers others.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Secret("hashing"))?
}

const fn totp_aad(row: &str) -> Aad<'_> {
    Aad {
        table: "operators",
        column: "totp_sealed",
        row,
    }
}
