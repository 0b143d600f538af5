use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, Months, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;
use wanwu_ids::{AccountId, OperatorId, RequestId};
use wanwu_postgres::{
    page::{Page, PageRequest},
    requests::{self, BodyMac, Claim, RequestKey},
};

use super::{OrderDesk, aad};
use crate::{
    domain::brand::{self, Misuse},
    error::Error,
    store::brand::{self as store, Application, Rules},
};

/// Who wants to use the brand; it is sealed as a whole and has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enterprise {
    /// Its name.
    pub name: String,
    /// Its unified social credit code.
    pub uscc: String,
    /// Where the official mail goes.
    pub email: String,
}

/// An enterprise applies.
pub struct ApplyForBrand {
    /// By whom.
    pub account_id: AccountId,
    /// Names the request, for ever.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// Which enterprise.
    pub enterprise: Enterprise,
    /// The name in the phrase.
    pub product_name: String,
    /// Where it is to be used.
    pub scope: String,
    /// For how many months.
    pub months: i32,
}

/// An operator keeps what the official mail answered.
pub struct AnswerBrand {
    /// Who.
    pub operator_id: OperatorId,
    /// Which application.
    pub application_id: Uuid,
    /// What the enterprise was checked by, where it is granted; `None`: it is refused.
    pub granted_by_evidence: Option<String>,
    /// What the mail says.
    pub answer: String,
    /// Its Message-ID.
    pub mail_id: String,
}

/// An application with who applied.
pub struct OpenedApplication {
    /// The application.
    pub application: Application,
    /// Who applied.
    pub enterprise: Enterprise,
}

impl OrderDesk {
    /// Publishes the next version of the rules (obligation T11.1b).
    pub async fn publish_brand_rules(
        &self,
        operator_id: OperatorId,
        request_id: RequestId,
        body: BodyMac,
        text: String,
    ) -> Result<Rules, Error> {
        let now = self.app.now();
        let mut tx = self.app.pool.begin().await?;
        store::lock_rules(&mut tx).await?;
        let last = store::find_rules(&mut tx, None).await?;
        let version = last.map_or(0, |last| last.version) + 1;
        let caller = format!("operator:{operator_id}");
        let key = RequestKey {
            method: "wanwu.billing.v1.BrandService/PublishBrandRules",
            caller: &caller,
            request_id: request_id.uuid(),
        };
        let id = Uuid::from_u128(u128::from(version.unsigned_abs()));
        if let Claim::Repeated(made) = requests::claim(&mut tx, key, body, id, now, None).await? {
            let version = i32::try_from(made.as_u128()).ok();
            let made = store::find_rules(&mut tx, version).await?;
            return made.ok_or(Error::NotFound);
        }
        let rules = Rules {
            version,
            sha256: hex::encode(digest(&SHA256, text.as_bytes())),
            body: text,
            published_at: now,
            published_by: operator_id,
        };
        store::insert_rules(&mut tx, &rules).await?;
        tx.commit().await?;
        Ok(rules)
    }

    /// A version of the rules; `None`: the newest.
    pub async fn brand_rules(&self, version: Option<i32>) -> Result<Rules, Error> {
        let mut connection = self.app.pool.acquire().await?;
        let rules = store::find_rules(&mut connection, version).await?;
        rules.ok_or(Error::NotFound)
    }

    /// Writes an application (obligation T11.3a).
    pub async fn apply_for_brand(
        &self,
        command: ApplyForBrand,
    ) -> Result<OpenedApplication, Error> {
        let now = self.app.now();
        let id: Uuid = self.app.ids.id::<()>().uuid();
        let mut tx = self.app.pool.begin().await?;
        let caller = format!("account:{}", command.account_id);
        let key = RequestKey {
            method: "wanwu.billing.v1.BrandService/ApplyForBrand",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        if let Claim::Repeated(made) =
            requests::claim(&mut tx, key, command.body, id, now, None).await?
        {
            let made = store::lock(&mut tx, made).await?;
            return self
                .opened_brand(&mut tx, made.ok_or(Error::NotFound)?)
                .await;
        }
        let text = serde_json::to_string(&command.enterprise).expect("texts are JSON");
        let row = id.to_string();
        let aad = aad("brand_applications", "enterprise", &row);
        let enterprise_sealed = self.seal(&mut tx, command.account_id, aad, &text).await?;
        let application = Application {
            application_id: id,
            account_id: command.account_id,
            enterprise_sealed,
            product_name: command.product_name,
            scope: command.scope,
            months: command.months,
            applied_at: now,
            state: "open".to_owned(),
            answer: None,
            mail_id: None,
            evidence_sha256: None,
            rules_version: None,
            answered_at: None,
            answered_by: None,
            until: None,
        };
        store::insert(&mut tx, &application).await?;
        tx.commit().await?;
        Ok(OpenedApplication {
            application,
            enterprise: command.enterprise,
        })
    }

    /// Keeps an answer, once (obligation T11.3b); the same again changes nothing. What is granted is
    /// under the newest rules.
    pub async fn answer_brand(&self, command: AnswerBrand) -> Result<OpenedApplication, Error> {
        let now = self.app.now();
        let mut tx = self.app.pool.begin().await?;
        let application = store::lock(&mut tx, command.application_id).await?;
        let mut application = application.ok_or(Error::NotFound)?;
        if application.state != "open" {
            let same = application.answer.as_ref() == Some(&command.answer)
                && application.mail_id.as_ref() == Some(&command.mail_id)
                && application.evidence_sha256 == command.granted_by_evidence;
            return match same {
                true => self.opened_brand(&mut tx, application).await,
                false => Err(Error::BrandApplicationState),
            };
        }
        let granted = command.granted_by_evidence.is_some();
        "refused".clone_into(&mut application.state);
        if granted {
            let rules = store::find_rules(&mut tx, None).await?;
            let rules = rules.ok_or(Error::BrandApplicationState)?;
            application.rules_version = Some(rules.version);
            application.until = Some(now + Months::new(application.months.unsigned_abs()));
            "granted".clone_into(&mut application.state);
        }
        application.evidence_sha256 = command.granted_by_evidence;
        application.answer = Some(command.answer);
        application.mail_id = Some(command.mail_id);
        application.answered_at = Some(now);
        application.answered_by = Some(command.operator_id);
        store::answer(&mut tx, &application).await?;
        let opened = self.opened_brand(&mut tx, application).await?;
        tx.commit().await?;
        Ok(opened)
    }

    /// What is wrong with a text under an authorisation of the account (obligation T11.1a).
    pub async fn check_brand_text(
        &self,
        account_id: AccountId,
        id: Uuid,
        text: &str,
    ) -> Result<Result<(), Misuse>, Error> {
        let now = self.app.now();
        let mut tx = self.app.pool.begin().await?;
        let application = store::lock(&mut tx, id).await?;
        let in_force = |it: &Application| {
            it.account_id == account_id && it.until.is_some_and(|until| now < until)
        };
        let application = application.filter(in_force).ok_or(Error::NotFound)?;
        Ok(brand::check(text, &application.product_name))
    }

    /// The account's applications, newest first.
    pub async fn brand_applications(
        &self,
        account_id: AccountId,
        page: &PageRequest<Uuid>,
    ) -> Result<Page<OpenedApplication>, Error> {
        let mut connection = self.app.pool.acquire().await?;
        let rows = store::list(&mut connection, account_id, page.after, page.limit()).await?;
        self.brand_page(&mut connection, page, rows).await
    }

    /// Those without an answer, oldest first.
    pub async fn open_brand_applications(
        &self,
        page: &PageRequest<Uuid>,
    ) -> Result<Page<OpenedApplication>, Error> {
        let mut connection = self.app.pool.acquire().await?;
        let rows = store::open(&mut connection, page.after, page.limit()).await?;
        self.brand_page(&mut connection, page, rows).await
    }

    async fn brand_page(
        &self,
        connection: &mut PgConnection,
        page: &PageRequest<Uuid>,
        rows: Vec<Application>,
    ) -> Result<Page<OpenedApplication>, Error> {
        let page = page.page(rows, |application| application.application_id);
        let mut items = Vec::with_capacity(page.items.len());
        for application in page.items {
            items.push(self.opened_brand(connection, application).await?);
        }
        Ok(Page {
            items,
            next_page_token: page.next_page_token,
        })
    }

    async fn opened_brand(
        &self,
        connection: &mut PgConnection,
        application: Application,
    ) -> Result<OpenedApplication, Error> {
        let row = application.application_id.to_string();
        let aad = aad("brand_applications", "enterprise", &row);
        let sealed = &application.enterprise_sealed;
        let text = self
            .open(connection, application.account_id, aad, sealed)
            .await?;
        let enterprise = serde_json::from_str(&text);
        Ok(OpenedApplication {
            application,
            enterprise: enterprise.map_err(|error| Error::Personal(error.into()))?,
        })
    }
}

/// How many applications are not answered in time.
pub async fn overdue(tx: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<usize> {
    let since = store::open_since(tx).await?;
    let late = |applied_at: &&DateTime<Utc>| brand::due(**applied_at).ends_at <= now;
    Ok(since.iter().filter(late).count())
}
