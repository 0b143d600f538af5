use wanwu_ids::{AccountId, ConsentId, RequestId, VerificationId};
use wanwu_personal::{Aad, PersonName, ResidentId};
use wanwu_postgres::{
    requests::{self, BodyMac, Claim, RequestKey},
    violates,
};

use crate::{
    app::App,
    domain::verification::{State, next_query},
    error::Error,
    store::verifications::{self, ONE_AT_A_TIME, Verification},
};

/// A person submits name and resident ID for one agency query.
pub struct SubmitRealName {
    /// Who.
    pub account_id: AccountId,
    /// Names the request.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// The name.
    pub name: PersonName,
    /// The resident ID.
    pub resident_id: ResidentId,
    /// The consent to this query.
    pub consent_id: ConsentId,
}

/// What became of a submission.
enum Submission {
    /// A new check; its first query is the submission's own.
    New(Verification),
    /// The request made this check before.
    Repeated(VerificationId),
}

impl App {
    /// Stores what was submitted, sealed, and asks the agency. An agency that does not answer
    /// leaves the check pending; it is asked again in the background (obligation T2.2).
    pub async fn submit_real_name(&self, command: SubmitRealName) -> Result<Verification, Error> {
        self.refuse_what_is_in_the_way(&command).await?;
        // The act that the consent is used for is this request: repeating it needs no other one.
        let act = command.request_id.uuid();
        self.privacy
            .use_consent(command.account_id, command.consent_id, act)
            .await?;
        let submission = self.store_submission(&command).await?;
        let (id, asked) = match submission {
            Submission::New(check) => (check.verification_id, self.ask_about(&check).await),
            Submission::Repeated(id) => (id, self.ask_agency(id).await),
        };
        if let Err(error) = asked {
            // The person's request is safe; what failed is tried again and logged where it is tried.
            tracing::warn!(verification.id = %id, error = &error as &dyn std::error::Error,
                "The agency was not asked; it will be asked again");
        }
        let mut connection = self.pool.acquire().await?;
        verifications::find(&mut connection, id)
            .await?
            .ok_or(Error::NotFound)
    }

    /// A consent is not spent on what another check is in the way of. A repeated request passes: it
    /// is answered with its own check.
    async fn refuse_what_is_in_the_way(&self, command: &SubmitRealName) -> Result<(), Error> {
        let account_id = command.account_id;
        let caller = caller(account_id);
        let mut connection = self.pool.acquire().await?;
        let made = requests::find(&mut connection, key(command, &caller), command.body).await?;
        if made.is_some() {
            return Ok(());
        }
        let newest = verifications::newest(&mut connection, account_id).await?;
        match newest.map(|check| check.state) {
            Some(State::Pending) => Err(Error::Pending),
            Some(State::Verified) => Err(Error::AlreadyVerified),
            _ => Ok(()),
        }
    }

    /// The first query is counted with the check: it is not due for anybody else meanwhile.
    async fn store_submission(&self, command: &SubmitRealName) -> Result<Submission, Error> {
        let (now, account_id) = (self.clock.now(), command.account_id);
        let mut tx = self.pool.begin().await?;
        let verification_id: VerificationId = self.ids.id();
        let caller = caller(account_id);
        let object_id = verification_id.uuid();
        if let Claim::Repeated(made) = requests::claim(
            &mut tx,
            key(command, &caller),
            command.body,
            object_id,
            now,
            Some(requests::KEPT),
        )
        .await?
        {
            return Ok(Submission::Repeated(VerificationId::from_uuid(made)));
        }
        let key = self.keys.key_in(&mut tx, account_id.uuid(), now).await?;
        let row = verification_id.to_string();
        let name = command.name.expose().as_bytes();
        let number = command.resident_id.expose().as_bytes();
        let verification = Verification {
            verification_id,
            account_id,
            state: State::Pending,
            name_sealed: key.seal(aad("name_sealed", &row), name)?,
            resident_id_sealed: key.seal(aad("resident_id_sealed", &row), number)?,
            submitted_at: now,
            decided_at: None,
            queries: 1,
            query_after: next_query(now, 1),
        };
        if let Err(error) = verifications::insert(&mut tx, &verification).await {
            drop(tx);
            return if violates(&error, ONE_AT_A_TIME) {
                Err(self.in_the_way(account_id).await?)
            } else {
                Err(error.into())
            };
        }
        tx.commit().await?;
        Ok(Submission::New(verification))
    }

    async fn in_the_way(&self, account_id: AccountId) -> Result<Error, Error> {
        let mut connection = self.pool.acquire().await?;
        let verified = verifications::verified(&mut connection, account_id)
            .await?
            .is_some();
        Ok(if verified {
            Error::AlreadyVerified
        } else {
            Error::Pending
        })
    }
}

fn caller(account_id: AccountId) -> String {
    format!("account:{account_id}")
}

const fn key<'a>(command: &SubmitRealName, caller: &'a str) -> RequestKey<'a> {
    RequestKey {
        method: "wanwu.verification.v1.VerificationService/SubmitRealName",
        caller,
        request_id: command.request_id.uuid(),
    }
}

/// What a sealed value is bound to besides its subject.
pub(super) const fn aad<'a>(column: &'a str, row: &'a str) -> Aad<'a> {
    Aad {
        table: "verifications",
        column,
        row,
    }
}
