use std::sync::Arc;

use tonic::{Request, Response, Status};
use uuid::Uuid;
use wanwu_access::caller;
use wanwu_personal::{BankAccountName, EmailAddress, Uscc};
use wanwu_proto::billing::v1::{
    self as pb, AnswerBrandApplicationRequest, AnswerBrandApplicationResponse,
    ApplyForBrandRequest, ApplyForBrandResponse, BrandApplication, BrandApplicationState,
    BrandTextProblem, CheckBrandTextRequest, CheckBrandTextResponse, GetBrandRulesRequest,
    GetBrandRulesResponse, ListBrandApplicationsRequest, ListBrandApplicationsResponse,
    ListOpenBrandApplicationsRequest, ListOpenBrandApplicationsResponse, PublishBrandRulesRequest,
    PublishBrandRulesResponse, brand_service_server::BrandService,
};

use super::{id, page};
use crate::{
    convert::timestamp,
    domain::brand::{self, Misuse},
    error::Error,
    order_desk::{AnswerBrand, ApplyForBrand, Enterprise, OpenedApplication, OrderDesk},
    store::brand::Rules,
};

/// The longest text of rules, and to be checked, in characters.
const MAX_TEXT: usize = 20_000;
/// The longest name in the phrase, in characters.
const MAX_NAME: usize = 40;

/// Answers the service of the brand.
#[derive(Clone)]
pub struct BrandHandlers(pub Arc<OrderDesk>);

#[tonic::async_trait]
impl BrandService for BrandHandlers {
    async fn publish_brand_rules(
        &self,
        request: Request<PublishBrandRulesRequest>,
    ) -> Result<Response<PublishBrandRulesResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let body = self.0.app.body_key.mac(&request);
        let request_id = id("request_id", &request.request_id)?;
        let text = text("text", &request.text, MAX_TEXT)?;
        let rules = self
            .0
            .publish_brand_rules(operator_id, request_id, body, text)
            .await?;
        Ok(Response::new(PublishBrandRulesResponse {
            rules: Some(rules.into()),
        }))
    }

    async fn get_brand_rules(
        &self,
        request: Request<GetBrandRulesRequest>,
    ) -> Result<Response<GetBrandRulesResponse>, Status> {
        let version = request.get_ref().version;
        let rules = self
            .0
            .brand_rules((version != 0).then_some(version))
            .await?;
        Ok(Response::new(GetBrandRulesResponse {
            rules: Some(rules.into()),
        }))
    }

    async fn apply_for_brand(
        &self,
        request: Request<ApplyForBrandRequest>,
    ) -> Result<Response<ApplyForBrandResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        if !(1..=36).contains(&request.months) {
            return Err(Error::invalid("months", "is not from 1 to 36").into());
        }
        let command = ApplyForBrand {
            account_id,
            request_id: id("request_id", &request.request_id)?,
            body: self.0.app.body_key.mac(&request),
            enterprise: enterprise(&request)?,
            product_name: product_name(&request.product_name)?,
            scope: text("scope", &request.scope, 500)?,
            months: request.months,
        };
        let opened = self.0.apply_for_brand(command).await?;
        Ok(Response::new(ApplyForBrandResponse {
            application: Some(opened.into()),
        }))
    }

    async fn list_brand_applications(
        &self,
        request: Request<ListBrandApplicationsRequest>,
    ) -> Result<Response<ListBrandApplicationsResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.brand_applications(account_id, &page).await?;
        Ok(Response::new(ListBrandApplicationsResponse {
            applications: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_open_brand_applications(
        &self,
        request: Request<ListOpenBrandApplicationsRequest>,
    ) -> Result<Response<ListOpenBrandApplicationsResponse>, Status> {
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.open_brand_applications(&page).await?;
        Ok(Response::new(ListOpenBrandApplicationsResponse {
            applications: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn answer_brand_application(
        &self,
        request: Request<AnswerBrandApplicationRequest>,
    ) -> Result<Response<AnswerBrandApplicationResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let command = AnswerBrand {
            operator_id,
            application_id: id("application_id", &request.application_id)?,
            granted_by_evidence: evidence(request.grant, request.evidence_sha256)?,
            answer: text("answer", &request.answer, 1000)?,
            mail_id: mail_id(request.mail_id)?,
        };
        let answered = self.0.answer_brand(command).await?;
        Ok(Response::new(AnswerBrandApplicationResponse {
            application: Some(answered.into()),
        }))
    }

    async fn check_brand_text(
        &self,
        request: Request<CheckBrandTextRequest>,
    ) -> Result<Response<CheckBrandTextResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let id = id::<Uuid>("application_id", &request.application_id)?;
        if request.text.chars().count() > MAX_TEXT {
            return Err(Error::invalid("text", "has more than 20,000 characters").into());
        }
        let checked = self
            .0
            .check_brand_text(account_id, id, &request.text)
            .await?;
        let (problem, term) = match checked {
            Ok(()) => (BrandTextProblem::Unspecified, ""),
            Err(Misuse::Absent) => (BrandTextProblem::Absent, ""),
            Err(Misuse::Split) => (BrandTextProblem::Split, ""),
            Err(Misuse::Term(term)) => (BrandTextProblem::Term, term),
        };
        Ok(Response::new(CheckBrandTextResponse {
            problem: problem.into(),
            term: term.to_owned(),
        }))
    }
}

/// The texts of errors do not show it.
fn enterprise(request: &ApplyForBrandRequest) -> Result<Enterprise, Error> {
    let name = BankAccountName::parse(&request.enterprise_name);
    let name =
        name.map_err(|_| Error::invalid("enterprise_name", "must have 2 to 100 characters"))?;
    let uscc = Uscc::parse(&request.uscc);
    let uscc = uscc.map_err(|why| Error::invalid("uscc", why.to_string()))?;
    let email = EmailAddress::parse(&request.email);
    let email = email.map_err(|why| Error::invalid("email", why.to_string()))?;
    Ok(Enterprise {
        name: name.expose().to_owned(),
        uscc: uscc.expose().to_owned(),
        email: email.expose().to_owned(),
    })
}

fn product_name(name: &str) -> Result<String, Error> {
    let name = text("product_name", name, MAX_NAME)?;
    // What is no use of the brand at all is absent of it.
    match brand::check(&name, &name) {
        Err(Misuse::Absent) => Ok(name),
        _ => Err(Error::invalid(
            "product_name",
            "names the brand (不得包含品牌名称)",
        )),
    }
}

fn evidence(grant: bool, sha256: String) -> Result<Option<String>, Error> {
    let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let hash = sha256.len() == 64 && sha256.bytes().all(digits);
    match (grant, hash, sha256.is_empty()) {
        (true, true, _) => Ok(Some(sha256)),
        (false, _, true) => Ok(None),
        _ => {
            let what = "must be 64 hexadecimal digits where it is granted, and only there";
            Err(Error::invalid("evidence_sha256", what))
        }
    }
}

fn mail_id(id: String) -> Result<String, Error> {
    let sound = (3..=250).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    if sound {
        Ok(id)
    } else {
        Err(Error::invalid("mail_id", "is not a Message-ID"))
    }
}

fn text(field: &'static str, text: &str, most: usize) -> Result<String, Error> {
    let text = text.trim();
    if (1..=most).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        let what = format!("must have 1 to {most} characters");
        Err(Error::invalid(field, what))
    }
}

impl From<Rules> for pb::BrandRules {
    fn from(rules: Rules) -> Self {
        Self {
            version: rules.version,
            text: rules.body,
            sha256: rules.sha256,
            publish_time: Some(timestamp(rules.published_at)),
        }
    }
}

impl From<OpenedApplication> for BrandApplication {
    fn from(opened: OpenedApplication) -> Self {
        let (application, enterprise) = (opened.application, opened.enterprise);
        let state = match application.state.as_str() {
            "granted" => BrandApplicationState::Granted,
            "refused" => BrandApplicationState::Refused,
            _ => BrandApplicationState::Open,
        };
        let due = brand::due(application.applied_at);
        Self {
            application_id: application.application_id.to_string(),
            subject: brand::subject(&enterprise.name),
            enterprise_name: enterprise.name,
            uscc: enterprise.uscc,
            email: enterprise.email,
            phrase: brand::phrase(&application.product_name),
            product_name: application.product_name,
            scope: application.scope,
            months: application.months,
            state: state.into(),
            apply_time: Some(timestamp(application.applied_at)),
            due_time: Some(timestamp(due.ends_at)),
            due_provisional: due.provisional,
            answer: application.answer.unwrap_or_default(),
            mail_id: application.mail_id.unwrap_or_default(),
            answer_time: application.answered_at.map(timestamp),
            rules_version: application.rules_version.unwrap_or_default(),
            until_time: application.until.map(timestamp),
        }
    }
}
