//! Billing's lease service, as a client.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt;
use wanwu_ids::{AccountId, EpochId, LeaseId};
use wanwu_proto::billing::v1::{
    AcquireLeaseRequest, CloseLeaseRequest, FenceEpochRequest, PriceList, ReduceLeaseRequest, Unit,
    WatchRecallsRequest, WatchRecallsResponse, lease_service_client::LeaseServiceClient,
};

use crate::{
    domain::{lease_purse::PriceTable, usage::Prices},
    peers::PeerChannel,
    store::calls::LeaseTotal,
};

/// Lends and takes back.
#[derive(Clone, Debug)]
pub struct Lender {
    client: LeaseServiceClient<PeerChannel>,
    timeout: Duration,
}

/// What billing answers when it does not do it.
#[derive(Debug, thiserror::Error)]
pub enum LendError {
    /// The account has not enough.
    #[error("the balance is not sufficient")]
    Insufficient,
    /// Calls of the lease run still.
    #[error("calls of the lease run still")]
    InUse,
    /// It did not answer another call of the same account just now.
    #[error("billing does not answer")]
    Silent,
    /// It failed, or there was no answer.
    #[error("billing did not answer as it should")]
    Failed(#[source] Box<Status>),
    /// The answer is not what the contract says.
    #[error("billing's answer has no lease or no price list")]
    Nonsense,
}

impl Lender {
    /// A client of billing; each question may take `timeout`.
    #[must_use]
    pub fn new(channel: PeerChannel, timeout: Duration) -> Self {
        Self {
            client: LeaseServiceClient::new(channel),
            timeout,
        }
    }

    /// Sets credit aside: at least `least`, at best `want`, in 10^-9 CNY.
    pub async fn acquire(
        &self,
        account: AccountId,
        epoch: EpochId,
        lease: LeaseId,
        least: i64,
        want: i64,
    ) -> Result<(i64, Arc<PriceTable>), LendError> {
        let request = AcquireLeaseRequest {
            lease_id: lease.to_string(),
            account_id: account.to_string(),
            epoch_id: epoch.to_string(),
            min_nanos: least,
            want_nanos: want,
        };
        let answer = self
            .client
            .clone()
            .acquire_lease(self.request(request))
            .await?
            .into_inner();
        match (answer.lease, answer.price_list) {
            (Some(lease), Some(list)) => Ok((lease.amount_nanos, Arc::new(table(&list)))),
            _ => Err(LendError::Nonsense),
        }
    }

    /// Gives a lease back; answers whether the rest is free already. A lease that billing does
    /// not know was never granted.
    pub async fn close(
        &self,
        epoch: EpochId,
        lease: LeaseId,
        total: LeaseTotal,
    ) -> Result<bool, LendError> {
        if total.open > 0 {
            return Err(LendError::InUse);
        }
        let request = CloseLeaseRequest {
            lease_id: lease.to_string(),
            epoch_id: epoch.to_string(),
            calls: total.calls,
            sum_nanos: total.sum_nanos,
        };
        match self.client.clone().close_lease(self.request(request)).await {
            Ok(answer) => Ok(answer.into_inner().freed),
            Err(status) if status.code() == Code::NotFound => Ok(true),
            Err(status) => Err(status.into()),
        }
    }

    /// Gives back what is above `amount` of a lease that calls use. Where billing does not know the
    /// lease, or not yet how, the rest goes back with the lease.
    pub async fn reduce(
        &self,
        epoch: EpochId,
        lease: LeaseId,
        amount: i64,
    ) -> Result<(), LendError> {
        let request = ReduceLeaseRequest {
            lease_id: lease.to_string(),
            epoch_id: epoch.to_string(),
            amount_nanos: amount,
        };
        match self
            .client
            .clone()
            .reduce_lease(self.request(request))
            .await
        {
            Ok(_) => Ok(()),
            Err(status) => match status.code() {
                Code::NotFound | Code::FailedPrecondition | Code::Unimplemented => Ok(()),
                _ => Err(status.into()),
            },
        }
    }

    /// Ends an epoch; answers its open leases.
    pub async fn fence(&self, epoch: EpochId) -> Result<Vec<LeaseId>, LendError> {
        let request = FenceEpochRequest {
            epoch_id: epoch.to_string(),
        };
        let fenced = self.client.clone().fence_epoch(self.request(request)).await;
        let answer = match fenced {
            Ok(answer) => answer.into_inner(),
            // It never borrowed anything.
            Err(status) if status.code() == Code::NotFound => return Ok(Vec::new()),
            Err(status) => return Err(status.into()),
        };
        let leases = answer
            .open_leases
            .iter()
            .map(|lease| lease.lease_id.parse());
        leases
            .collect::<Result<_, _>>()
            .map_err(|_| LendError::Nonsense)
    }

    /// Accounts whose idle leases are wanted back, and heartbeats.
    pub async fn recalls(
        &self,
        epoch: EpochId,
    ) -> Result<Streaming<WatchRecallsResponse>, LendError> {
        let request = WatchRecallsRequest {
            epoch_id: epoch.to_string(),
        };
        Ok(self
            .client
            .clone()
            .watch_recalls(request)
            .await?
            .into_inner())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }
}

impl From<Status> for LendError {
    fn from(status: Status) -> Self {
        let reason = status.get_details_error_info().map(|info| info.reason);
        if reason.as_deref() == Some("INSUFFICIENT_BALANCE") {
            Self::Insufficient
        } else {
            Self::Failed(Box::new(status))
        }
    }
}

/// A price list, by model.
fn table(list: &PriceList) -> PriceTable {
    let mut models: HashMap<String, Prices> = HashMap::new();
    for price in &list.prices {
        let prices = models.entry(price.model.clone()).or_insert(Prices {
            version: list.version,
            input: i64::MAX,
            output: i64::MAX,
        });
        match price.unit() {
            Unit::InputToken => prices.input = price.nanos_per_unit,
            Unit::OutputToken => prices.output = price.nanos_per_unit,
            Unit::Unspecified => {}
        }
    }
    // A model with half a price has none.
    models.retain(|_, prices| prices.input != i64::MAX && prices.output != i64::MAX);
    PriceTable {
        version: list.version,
        models,
    }
}

#[cfg(test)]
mod tests {
    use wanwu_proto::billing::v1::Price;

    use super::*;

    #[test]
    fn a_model_needs_both_prices() {
        let price = |model: &str, unit: Unit, nanos_per_unit| Price {
            model: model.to_owned(),
            unit: unit.into(),
            nanos_per_unit,
        };
        let list = PriceList {
            version: 3,
            effective_time: None,
            prices: vec![
                price("m", Unit::InputToken, 5),
                price("m", Unit::OutputToken, 7),
                price("half", Unit::InputToken, 5),
            ],
        };
        let table = table(&list);
        assert_eq!(
            table.models["m"],
            Prices {
                version: 3,
                input: 5,
                output: 7
            }
        );
        assert_eq!(table.models.len(), 1);
    }
}
