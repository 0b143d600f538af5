//! Leases, as a router takes them and gives them back.

use tonic::{Request, Status};
use wanwu_ids::{AccountId, AppId, EpochId, KeyId};
use wanwu_proto::billing::v1::{
    AcquireLeaseRequest, CloseLeaseRequest, Lease, ReduceLeaseRequest,
    lease_service_server::LeaseService,
};

use super::World;

impl World {
    pub fn epoch(&self) -> EpochId {
        self.ids.id()
    }

    pub fn lease_request(
        &self,
        account: AccountId,
        epoch: EpochId,
        min: i64,
        want: i64,
    ) -> AcquireLeaseRequest {
        AcquireLeaseRequest {
            lease_id: self.ids.id::<()>().to_string(),
            account_id: account.to_string(),
            epoch_id: epoch.to_string(),
            min_nanos: min,
            want_nanos: want,
            ..AcquireLeaseRequest::default()
        }
    }

    pub async fn acquire(&self, request: &AcquireLeaseRequest) -> Result<Lease, Status> {
        let answer = self
            .api
            .acquire_lease(Request::new(request.clone()))
            .await?;
        let answer = answer.into_inner();
        assert_eq!(answer.price_list.unwrap().version, 1);
        Ok(answer.lease.unwrap())
    }

    /// A request for a call of this app and key, and of the model `scripted`.
    pub fn lease_request_of(
        &self,
        account: AccountId,
        epoch: EpochId,
        (app, key): (AppId, KeyId),
        (min, want): (i64, i64),
    ) -> AcquireLeaseRequest {
        AcquireLeaseRequest {
            app_id: app.to_string(),
            key_id: key.to_string(),
            model: "scripted".to_owned(),
            ..self.lease_request(account, epoch, min, want)
        }
    }

    /// A lease of exactly so much.
    pub async fn lease(&self, account: AccountId, epoch: EpochId, amount: i64) -> Lease {
        let request = self.lease_request(account, epoch, amount, amount);
        self.acquire(&request).await.unwrap()
    }

    pub async fn close(&self, lease: &Lease, calls: i64, sum: i64) -> Result<bool, Status> {
        let request = CloseLeaseRequest {
            lease_id: lease.lease_id.clone(),
            epoch_id: lease.epoch_id.clone(),
            calls,
            sum_nanos: sum,
        };
        let answer = self.api.close_lease(Request::new(request)).await?;
        Ok(answer.into_inner().freed)
    }

    pub async fn reduce(&self, lease: &Lease, worth: i64) -> Result<(), Status> {
        let request = ReduceLeaseRequest {
            lease_id: lease.lease_id.clone(),
            epoch_id: lease.epoch_id.clone(),
            amount_nanos: worth,
        };
        self.api.reduce_lease(Request::new(request)).await.map(drop)
    }
}
