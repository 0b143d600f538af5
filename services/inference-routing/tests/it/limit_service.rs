//! Priorities as an account and operators set them by RPC, and whose turn it is by them.

use inference_routing::commands::chat::Caller;
use sqlx::PgPool;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use wanwu_grpc::Channel;
use wanwu_ids::{AccountId, KeyId};
use wanwu_proto::inference::v1::{
    GetAccountLimitsRequest, Limits, ListLimitsRequest, Priority, SetAccountLimitsRequest,
    SetLimitsRequest, SubjectLimits, limit_service_client::LimitServiceClient, set_limits_request,
    subject_limits,
};

use crate::{
    turns::{among_the_first, one_at_a_time, turns},
    world::{
        World, id,
        served::{Served, of_support},
    },
};

/// The service, for a person and for a support engineer.
struct Service<'a> {
    served: &'a Served,
    client: LimitServiceClient<Channel>,
}

impl<'a> Service<'a> {
    fn of(served: &'a Served) -> Self {
        let client = LimitServiceClient::new(served.channel("edge"));
        Self { served, client }
    }

    /// The caller's account sets the priority of a key.
    async fn set_key(&mut self, key: KeyId, priority: i32) -> Result<SubjectLimits, Status> {
        let request = SetLimitsRequest {
            subject: Some(set_limits_request::Subject::KeyId(key.to_string())),
            limits: Some(only(priority)),
        };
        let account = self.served.world.caller.account_id;
        let request = self.served.of_account(request, account);
        let set = self.client.set_limits(request).await?;
        Ok(set.into_inner().limits.unwrap())
    }

    /// What the caller's account sees of its limits.
    async fn list(&mut self) -> Vec<SubjectLimits> {
        let account = self.served.world.caller.account_id;
        let request = self.served.of_account(ListLimitsRequest {}, account);
        let listed = self.client.list_limits(request).await.unwrap();
        listed.into_inner().limits
    }

    /// Support sets the priority of an account.
    async fn set_account(
        &mut self,
        account: AccountId,
        priority: i32,
    ) -> Result<SubjectLimits, Status> {
        let request = SetAccountLimitsRequest {
            account_id: account.to_string(),
            limits: Some(only(priority)),
        };
        let set = self.client.set_account_limits(of_support(request)).await?;
        Ok(set.into_inner().limits.unwrap())
    }

    /// What support sees of an account's limits.
    async fn get_account(&mut self, account: AccountId) -> Vec<SubjectLimits> {
        let request = GetAccountLimitsRequest {
            account_id: account.to_string(),
        };
        let read = self.client.get_account_limits(of_support(request)).await;
        read.unwrap().into_inner().limits
    }
}

fn only(priority: i32) -> Limits {
    Limits {
        priority,
        ..Limits::default()
    }
}

/// The priority that somebody is told.
fn priority(told: &SubjectLimits) -> Priority {
    told.limits.as_ref().unwrap().priority()
}

#[sqlx::test]
async fn a_key_that_its_account_makes_urgent_is_listed_so_and_comes_first(pool: PgPool) {
    let served = Served::around(one_at_a_time(&pool).await, |_| {}).await;
    let mut service = Service::of(&served);
    let normal = served.world.caller;
    let urgent = Caller {
        key_id: id(),
        ..normal
    };
    let high = Priority::High.into();
    let set = service.set_key(urgent.key_id, high).await.unwrap();
    let whose = subject_limits::Subject::KeyId(urgent.key_id.to_string());
    assert_eq!(set.subject, Some(whose));
    assert_eq!(priority(&set), Priority::High);
    let listed = service.list().await;
    assert_eq!(listed[1..], [set]);
    // Of the account itself nobody said anything.
    assert_eq!(priority(&listed[0]), Priority::Normal);

    let turns = turns(&served.world, &[(normal, 30), (urgent, 10)]).await;
    // Some may run before the urgent ones come.
    let of_urgent = among_the_first(&turns, 12, 1);
    assert!(of_urgent >= 9, "{turns:?}");
}

#[sqlx::test]
async fn accounts_are_served_by_the_priorities_that_an_operator_sets_and_reads(pool: PgPool) {
    let served = Served::around(one_at_a_time(&pool).await, |_| {}).await;
    let mut service = Service::of(&served);
    let low = served.world.caller;
    let high = Caller {
        account_id: id(),
        app_id: id(),
        key_id: id(),
    };
    let billing = &served.world.billing;
    billing.give(high.account_id, 1_000_000_000_000);
    for (caller, asked) in [(low, Priority::Low), (high, Priority::High)] {
        let account = caller.account_id;
        let set = service.set_account(account, asked.into()).await.unwrap();
        assert_eq!(priority(&set), asked);
        assert_eq!(service.get_account(account).await, [set]);
    }
    let turns = turns(&served.world, &[(low, 30), (high, 30)]).await;
    let of_low = among_the_first(&turns, 24, 0);
    assert!((1..=4).contains(&of_low), "{turns:?}");

    // Without one it is as everybody again.
    let set = service.set_account(high.account_id, 0).await.unwrap();
    assert_eq!(priority(&set), Priority::Normal);
    assert!(set.change_time.is_none());
    assert_eq!(service.get_account(high.account_id).await, [set]);
}

#[sqlx::test]
async fn a_priority_that_nobody_knows_is_refused_by_its_field_and_changes_nothing(pool: PgPool) {
    let served = Served::around(World::start(pool).await, |_| {}).await;
    let mut service = Service::of(&served);
    let caller = served.world.caller;
    let low = Priority::Low.into();
    service.set_key(caller.key_id, low).await.unwrap();
    service.set_account(caller.account_id, low).await.unwrap();
    let before = service.list().await;
    assert_eq!(before.len(), 2, "of the account and of its key");
    assert!(
        before
            .iter()
            .all(|limits| priority(limits) == Priority::Low)
    );
    for number in [-1, 4, i32::MAX] {
        let of_key = service.set_key(caller.key_id, number).await;
        let of_account = service.set_account(caller.account_id, number).await;
        for refused in [of_key, of_account] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{number}");
            let details = refused.get_error_details();
            let named = &details.bad_request().unwrap().field_violations[0].field;
            assert_eq!(named, "limits.priority", "{number}");
        }
    }
    assert_eq!(service.list().await, before);
    assert_eq!(service.get_account(caller.account_id).await, before);
}
