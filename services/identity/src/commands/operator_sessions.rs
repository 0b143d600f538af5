use std::time::Duration as StdDuration;

use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier, password_hash::SaltString};
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;
use wanwu_proto::access::v1::{OperatorSubject, Principal, principal::Subject};

use super::create_operator::{is_name, totp_aad};
use crate::{
    app::App,
    domain::{
        credential::{Credential, Kind},
        totp::Authenticator,
    },
    error::Error,
    store::{
        audit,
        grants::{self, NewGrant},
        operators::{self, Operator},
    },
};

/// How long an operator's session lives.
const SESSION: Duration = Duration::minutes(15);
/// How long a sign-in waits for a processor that may hash.
const HASH_WAIT: StdDuration = StdDuration::from_secs(3);

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

impl App {
    /// Opens a session by password and authenticator. Every failure costs the same and says the
    /// same, also for a name that nobody has; five lock the name for a quarter of an hour.
    pub async fn sign_in_operator(
        &self,
        command: SignInOperator,
    ) -> Result<OperatorSession, Error> {
        let now = self.clock.now();
        let SignInOperator {
            name,
            password,
            totp,
        } = command;
        if !is_name(&name) {
            return Err(Error::InvalidCredential);
        }
        if let Some(until) = operators::count_attempt(&self.pool, &name, now).await? {
            return Err(Error::RateLimited {
                after: (until - now).to_std().unwrap_or_default(),
            });
        }
        let Some(operator) = operators::find(&self.pool, &name).await? else {
            self.hash_password(password).await?;
            return Err(Error::InvalidCredential);
        };
        let step = self
            .prove(&operator, password, &totp, now)
            .await?
            .ok_or(Error::InvalidCredential)?;
        let mut tx = self.pool.begin().await?;
        if !operators::use_step(&mut tx, operator.operator_id, step).await? {
            return Err(Error::InvalidCredential);
        }
        operators::forget_attempts(&mut tx, &name).await?;
        let session = self.open_operator_session(&mut tx, &operator, now).await?;
        tx.commit().await?;
        Ok(session)
    }

    /// The step of the authenticator's code, if both proofs are right.
    async fn prove(
        &self,
        operator: &Operator,
        password: String,
        totp: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<i64>, Error> {
        let key = self.keys.existing(operator.operator_id.uuid()).await?;
        let row = operator.operator_id.to_string();
        let secret = key.open(totp_aad(&row), &operator.totp_sealed)?;
        let authenticator =
            Authenticator::new(secret.to_vec()).map_err(|_| Error::Secret("the authenticator"))?;
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        let step = authenticator.step_of(totp, seconds, operator.totp_step);
        let hash = operator.password_hash.clone();
        let right = self
            .hashing(move || {
                let hash = PasswordHash::new(&hash).map_err(|_| Error::Secret("the password"))?;
                Ok(Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
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
        let entry = audit::Entry {
            entry_id: self.ids.id::<()>().uuid(),
            operator_id: operator.operator_id,
            action: "sign_in".to_owned(),
            object_id: session_id,
            reason_code: String::new(),
            acted_at: now,
        };
        audit::insert(tx, &entry).await?;
        Ok(OperatorSession {
            token: credential.text,
            expires_at,
        })
    }

    /// Argon2id with the crate's defaults (OWASP: 19 MiB, 2 passes), in PHC form.
    pub(super) async fn hash_password(&self, password: String) -> Result<String, Error> {
        let mut salt = [0; 16];
        self.entropy.fill(&mut salt);
        self.hashing(move || {
            let salt = SaltString::encode_b64(&salt).map_err(|_| Error::Secret("the salt"))?;
            let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
            Ok(hash.map_err(|_| Error::Secret("the password"))?.to_string())
        })
        .await
    }

    /// Hashing takes long on purpose: not on a thread that answers others, and few at a time.
    async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let busy = |_| Error::RateLimited { after: HASH_WAIT };
        let place = tokio::time::timeout(HASH_WAIT, self.hashes.acquire());
        let _place = place
            .await
            .map_err(busy)?
            .map_err(|_| Error::Secret("hashing"))?;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| Error::Secret("hashing"))?
    }
}
