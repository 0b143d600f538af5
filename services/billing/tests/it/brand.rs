//! Who may say what with the brand.

use billing::grpc::BrandHandlers;
use chrono::Duration;
use sqlx::PgPool;
use tonic::{Code, Request, Status};
use wanwu_clock::Clock;
use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::{
    AnswerBrandApplicationRequest, ApplyForBrandRequest, BrandApplication, BrandApplicationState,
    BrandTextProblem, CheckBrandTextRequest, GetBrandRulesRequest, ListBrandApplicationsRequest,
    ListOpenBrandApplicationsRequest, PublishBrandRulesRequest, brand_service_server::BrandService,
};

use crate::world::{World, reason};

struct Office {
    world: World,
    brand: BrandHandlers,
}

impl Office {
    async fn new(pool: PgPool) -> Self {
        let world = World::new(pool).await;
        let brand = BrandHandlers(world.order_desk());
        Self { world, brand }
    }

    fn application(&self) -> ApplyForBrandRequest {
        ApplyForBrandRequest {
            request_id: self.world.ids.id::<()>().to_string(),
            enterprise_name: "某某科技有限公司".to_owned(),
            uscc: "91350100M000100Y43".to_owned(),
            email: "brand@example.cn".to_owned(),
            product_name: "灵犀".to_owned(),
            scope: "官网和应用商店的介绍".to_owned(),
            months: 12,
        }
    }

    async fn apply(
        &self,
        account: AccountId,
        request: ApplyForBrandRequest,
    ) -> Result<BrandApplication, Status> {
        let request = self.world.by(account, request);
        let answer = self.brand.apply_for_brand(request).await?;
        Ok(answer.into_inner().application.unwrap())
    }

    async fn publish(&self, text: &str) -> i32 {
        let request = PublishBrandRulesRequest {
            request_id: self.world.ids.id::<()>().to_string(),
            text: text.to_owned(),
        };
        let operator = self.world.ids.id();
        let mut versions = Vec::new();
        for _ in 0..2 {
            let request = self.world.by_operator(operator, request.clone());
            let answer = self.brand.publish_brand_rules(request).await.unwrap();
            versions.push(answer.into_inner().rules.unwrap().version);
        }
        assert_eq!(versions[0], versions[1], "the same request");
        versions[0]
    }

    async fn answer(
        &self,
        request: AnswerBrandApplicationRequest,
    ) -> Result<BrandApplication, Status> {
        let request = self.world.by_operator(self.world.ids.id(), request);
        let answer = self.brand.answer_brand_application(request).await?;
        Ok(answer.into_inner().application.unwrap())
    }

    async fn check(
        &self,
        account: AccountId,
        id: &str,
        text: &str,
    ) -> Result<(i32, String), Status> {
        let request = CheckBrandTextRequest {
            application_id: id.to_owned(),
            text: text.to_owned(),
        };
        let request = self.world.by(account, request);
        let answer = self.brand.check_brand_text(request).await?.into_inner();
        Ok((answer.problem, answer.term))
    }

    async fn open(&self) -> Vec<BrandApplication> {
        let request = Request::new(ListOpenBrandApplicationsRequest::default());
        let answer = self.brand.list_open_brand_applications(request).await;
        answer.unwrap().into_inner().applications
    }
}

fn grant(application: &BrandApplication) -> AnswerBrandApplicationRequest {
    AnswerBrandApplicationRequest {
        application_id: application.application_id.clone(),
        grant: true,
        answer: "同意".to_owned(),
        mail_id: "<1@vnet.com>".to_owned(),
        evidence_sha256: "5a".repeat(32),
    }
}

#[sqlx::test]
async fn an_application_is_due_in_seven_working_days_and_its_answer_is_kept(pool: PgPool) {
    let office = Office::new(pool).await;
    let account = office.world.account();
    let request = office.application();
    let made = office.apply(account, request.clone()).await.unwrap();
    assert_eq!(made.subject, "某某科技有限公司+品牌授权申请");
    assert_eq!(made.phrase, "灵犀技术由世纪互联提供");
    assert_eq!(
        (made.scope.as_str(), made.months),
        ("官网和应用商店的介绍", 12)
    );
    // Monday 23 November, noon: seven working days are over when 2 December is.
    let due = made.due_time.unwrap();
    let end: chrono::DateTime<chrono::Utc> = "2026-12-02T16:00:00Z".parse().unwrap();
    assert_eq!(due.seconds, end.timestamp());
    assert!(!made.due_provisional);
    assert_eq!(office.apply(account, request.clone()).await.unwrap(), made);
    let mut other = request;
    other.months = 1;
    assert_eq!(
        reason(&office.apply(account, other).await.unwrap_err()),
        "REQUEST_ID_REUSED"
    );

    let gauge = async || {
        let mut connection = office.world.pool.acquire().await.unwrap();
        let now = office.world.app().now();
        billing::order_desk::overdue_brand_applications(&mut connection, now)
            .await
            .unwrap()
    };
    assert_eq!(gauge().await, 0);
    office
        .world
        .clock
        .advance(end - office.world.clock.now() - Duration::seconds(1));
    assert_eq!(gauge().await, 0);
    office.world.clock.advance(Duration::seconds(1));
    assert_eq!(gauge().await, 1);
    assert_eq!(office.open().await, std::slice::from_ref(&made));

    let refusal = AnswerBrandApplicationRequest {
        grant: false,
        evidence_sha256: String::new(),
        answer: "资料不全".to_owned(),
        ..grant(&made)
    };
    let refused = office.answer(refusal.clone()).await.unwrap();
    assert_eq!(refused.state(), BrandApplicationState::Refused);
    assert_eq!(
        (refused.answer.as_str(), refused.mail_id.as_str()),
        ("资料不全", "<1@vnet.com>")
    );
    assert_eq!(
        office.answer(refusal).await.unwrap(),
        refused,
        "the same again"
    );
    let late = office.answer(grant(&made)).await.unwrap_err();
    assert_eq!(reason(&late), "BRAND_APPLICATION_STATE");
    assert_eq!(gauge().await, 0);
    assert!(office.open().await.is_empty());
    let list = office
        .world
        .by(account, ListBrandApplicationsRequest::default());
    let list = office.brand.list_brand_applications(list).await.unwrap();
    assert_eq!(list.into_inner().applications, [refused]);
    // Who applied is sealed, and an answer stays.
    let plain = sqlx::query(
        "select 1 from brand_applications where enterprise_sealed::text like '%91350100%'",
    );
    assert!(
        plain
            .fetch_optional(&office.world.pool)
            .await
            .unwrap()
            .is_none()
    );
    for change in [
        "update brand_applications set answer = 'x'",
        "delete from brand_applications",
    ] {
        assert!(
            sqlx::query(change)
                .execute(&office.world.pool)
                .await
                .is_err(),
            "{change}"
        );
    }
}

#[sqlx::test]
async fn an_authorisation_is_under_the_newest_rules_and_ends(pool: PgPool) {
    let office = Office::new(pool).await;
    let account = office.world.account();
    let made = office.apply(account, office.application()).await.unwrap();
    let early = office.answer(grant(&made)).await.unwrap_err();
    assert_eq!(reason(&early), "BRAND_APPLICATION_STATE", "no rules yet");
    assert_eq!(office.publish("蓝色，思源黑体").await, 1);
    assert_eq!(office.publish("深蓝色，思源黑体").await, 2);
    let mut unproved = grant(&made);
    unproved.evidence_sha256.clear();
    let refused = office.answer(unproved).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let id = made.application_id.as_str();
    let unanswered = office.check(account, id, &made.phrase).await.unwrap_err();
    assert_eq!(unanswered.code(), Code::NotFound);
    let granted = office.answer(grant(&made)).await.unwrap();
    assert_eq!(granted.rules_version, 2);
    assert_eq!(office.publish("红色").await, 3);
    let list = office
        .world
        .by(account, ListBrandApplicationsRequest::default());
    let list = office
        .brand
        .list_brand_applications(list)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        list.applications[0].rules_version, 2,
        "a later version is not its"
    );
    let rules = Request::new(GetBrandRulesRequest { version: 2 });
    let rules = office
        .brand
        .get_brand_rules(rules)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(rules.rules.unwrap().text, "深蓝色，思源黑体");

    for (text, problem, term) in [
        ("灵犀技术由世纪互联提供", BrandTextProblem::Unspecified, ""),
        ("灵犀 技术由世纪互联提供", BrandTextProblem::Split, ""),
        ("天问技术由世纪互联提供", BrandTextProblem::Split, ""),
        ("灵犀", BrandTextProblem::Absent, ""),
        (
            "灵犀技术由世纪互联提供。世纪互联出品",
            BrandTextProblem::Term,
            "世纪互联",
        ),
    ] {
        let checked = office.check(account, id, text).await.unwrap();
        assert_eq!(checked, (i32::from(problem), term.to_owned()), "{text}");
    }
    let stranger = office.world.account();
    let refused = office.check(stranger, id, "灵犀").await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    office.world.clock.advance(Duration::days(366));
    let over = office.check(account, id, "灵犀").await.unwrap_err();
    assert_eq!(over.code(), Code::NotFound);
    for change in [
        "update brand_rules set body = 'x'",
        "delete from brand_rules",
    ] {
        assert!(
            sqlx::query(change)
                .execute(&office.world.pool)
                .await
                .is_err(),
            "{change}"
        );
    }
}

#[sqlx::test]
async fn what_is_no_application_is_refused(pool: PgPool) {
    let office = Office::new(pool).await;
    type Break = fn(&mut ApplyForBrandRequest);
    let cases: [(&str, Break); 8] = [
        ("no enterprise", |it| it.enterprise_name.clear()),
        ("another check character", |it| {
            it.uscc = "91350100M000100Y44".to_owned()
        }),
        ("no address", |it| it.email = "nowhere".to_owned()),
        ("no name", |it| it.product_name = " ".to_owned()),
        ("the brand's name", |it| {
            it.product_name = "世纪 互联云".to_owned()
        }),
        ("no scope", |it| it.scope.clear()),
        ("no term", |it| it.months = 0),
        ("too long", |it| it.months = 37),
    ];
    for (what, break_it) in cases {
        let mut request = office.application();
        break_it(&mut request);
        let refused = office
            .apply(office.world.account(), request)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{what}");
    }
}
