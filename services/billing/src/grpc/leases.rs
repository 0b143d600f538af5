use futures::{StreamExt, stream::BoxStream};
use tokio_stream::wrappers::{BroadcastStream, IntervalStream};
use tonic::{Request, Response, Status};
use wanwu_proto::billing::v1::{
    AcquireLeaseRequest, AcquireLeaseResponse, CloseLeaseRequest, CloseLeaseResponse,
    FenceEpochRequest, FenceEpochResponse, ReduceLeaseRequest, ReduceLeaseResponse,
    WatchRecallsRequest, WatchRecallsResponse, lease_service_server::LeaseService,
};
use wanwu_watch::HEARTBEAT;

use super::{Handlers, id};
use crate::{
    commands::{AcquireLease, CloseLease, ReduceLease, Wanting},
    convert::price_snapshot,
    domain::lease::Tally,
    error::Error,
};

/// Longest name of a model, in bytes.
const MAX_MODEL: usize = 128;

fn amount(field: &'static str, nanos: i64) -> Result<i64, Error> {
    if nanos > 0 {
        Ok(nanos)
    } else {
        Err(Error::invalid(field, "must be above 0"))
    }
}

fn count(field: &'static str, number: i64) -> Result<i64, Error> {
    if number >= 0 {
        Ok(number)
    } else {
        Err(Error::invalid(field, "must not be below 0"))
    }
}

/// The call that the lease is for, if the replica says it.
fn wanting(request: &AcquireLeaseRequest) -> Result<Option<Wanting>, Error> {
    if request.app_id.is_empty() && request.key_id.is_empty() {
        return Ok(None);
    }
    if request.model.is_empty() || request.model.len() > MAX_MODEL {
        return Err(Error::invalid("model", "must have 1 to 128 bytes"));
    }
    Ok(Some(Wanting {
        app_id: id("app_id", &request.app_id)?,
        key_id: id("key_id", &request.key_id)?,
        model: request.model.clone(),
    }))
}

#[tonic::async_trait]
impl LeaseService for Handlers {
    type WatchRecallsStream = BoxStream<'static, Result<WatchRecallsResponse, Status>>;

    async fn acquire_lease(
        &self,
        request: Request<AcquireLeaseRequest>,
    ) -> Result<Response<AcquireLeaseResponse>, Status> {
        let request = request.into_inner();
        let command = AcquireLease {
            lease_id: id("lease_id", &request.lease_id)?,
            account_id: id("account_id", &request.account_id)?,
            epoch_id: id("epoch_id", &request.epoch_id)?,
            min_nanos: amount("min_nanos", request.min_nanos)?,
            want_nanos: amount("want_nanos", request.want_nanos)?,
            call: wanting(&request)?,
            ahead: request.ahead,
        };
        let acquired = self.0.acquire_lease(command).await?;
        let list = self.0.prices_of(&acquired.lease).await?;
        Ok(Response::new(AcquireLeaseResponse {
            price_list: Some(price_snapshot(&list, acquired.lease.price_tier)),
            lease: Some(acquired.lease.into()),
            account_wide: acquired.account_wide,
        }))
    }

    async fn close_lease(
        &self,
        request: Request<CloseLeaseRequest>,
    ) -> Result<Response<CloseLeaseResponse>, Status> {
        let request = request.into_inner();
        let stated = Tally {
            calls: count("calls", request.calls)?,
            nanos: count("sum_nanos", request.sum_nanos)?,
        };
        let command = CloseLease {
            lease_id: id("lease_id", &request.lease_id)?,
            epoch_id: id("epoch_id", &request.epoch_id)?,
            stated,
        };
        let freed = self.0.close_lease(command).await?;
        Ok(Response::new(CloseLeaseResponse { freed }))
    }

    async fn reduce_lease(
        &self,
        request: Request<ReduceLeaseRequest>,
    ) -> Result<Response<ReduceLeaseResponse>, Status> {
        let request = request.into_inner();
        let command = ReduceLease {
            lease_id: id("lease_id", &request.lease_id)?,
            epoch_id: id("epoch_id", &request.epoch_id)?,
            amount_nanos: amount("amount_nanos", request.amount_nanos)?,
        };
        self.0.reduce_lease(command).await?;
        Ok(Response::new(ReduceLeaseResponse {}))
    }

    async fn fence_epoch(
        &self,
        request: Request<FenceEpochRequest>,
    ) -> Result<Response<FenceEpochResponse>, Status> {
        let open = self
            .0
            .fence_epoch(id("epoch_id", &request.get_ref().epoch_id)?)
            .await?;
        let open_leases = open.into_iter().map(Into::into).collect();
        Ok(Response::new(FenceEpochResponse { open_leases }))
    }

    async fn watch_recalls(
        &self,
        _: Request<WatchRecallsRequest>,
    ) -> Result<Response<Self::WatchRecallsStream>, Status> {
        // A replica that was too slow watches anew, and forgets everything then.
        let missed = |_| Status::unavailable("recalls were missed");
        let recalls = BroadcastStream::new(self.0.recalls.subscribe()).map(
            move |recall| -> Result<WatchRecallsResponse, Status> {
                let recall = recall.map_err(missed)?;
                Ok(WatchRecallsResponse {
                    account_id: recall.account_id.to_string(),
                    forget: recall.forget,
                })
            },
        );
        let heartbeats = IntervalStream::new(tokio::time::interval(HEARTBEAT))
            .map(|_| Ok(WatchRecallsResponse::default()));
        let items = futures::stream::select(recalls, heartbeats)
            .take_until(self.0.stopping.clone().cancelled_owned());
        Ok(Response::new(items.boxed()))
    }
}
