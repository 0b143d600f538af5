//! Billing's lease service, as a client.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt;
use wanwu_ids::{AccountId, EpochId, Id, LeaseId};
use wanwu_proto::billing::v1::{
    AcquireLeaseRequest, CloseLeaseRequest, FenceEpochRequest, Lease, PriceList,
    ReduceLeaseRequest, WatchRecallsRequest, WatchRecallsResponse,
    lease_service_client::LeaseServiceClient,
};
use wanwu_tariff::Unit;

use crate::{
    domain::{
        lease_purse::PriceTable,
        lease_scope::{Class, Scope},
        usage::Prices,
    },
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
    /// The budget of the app or the key has not enough.
    #[error("the budget of the {0} is not sufficient")]
    Budget(String),
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

/// How much is asked for, in 10^-9 CNY.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// At least.
    pub least: i64,
    /// At best.
    pub want: i64,
    /// No call waits for it.
    pub ahead: bool,
}

/// What billing lent.
#[derive(Clone, Debug)]
pub struct Lent {
    /// How much, in 10^-9 CNY.
    pub amount: i64,
    /// The prices that apply.
    pub prices: Arc<PriceTable>,
    /// For which calls.
    pub scope: Scope,
    /// Nothing narrows the account's leases.
    pub account_wide: bool,
}

impl LendError {
    /// Whose budget is short, if one is.
    #[must_use]
    pub fn budget(&self) -> Option<String> {
        match self {
            Self::Budget(subject) => Some(subject.clone()),
            _ => None,
        }
    }
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

    /// Sets credit aside for a call of this class and those like it.
    pub async fn acquire(
        &self,
        account: AccountId,
        epoch: EpochId,
        lease: LeaseId,
        class: &Class,
        wanted: Wanted,
    ) -> Result<Lent, LendError> {
        let request = AcquireLeaseRequest {
            lease_id: lease.to_string(),
            account_id: account.to_string(),
            epoch_id: epoch.to_string(),
            min_nanos: wanted.least,
            want_nanos: wanted.want,
            app_id: class.app.to_string(),
            key_id: class.key.to_string(),
            model: class.model.clone(),
            ahead: wanted.ahead,
        };
        let answer = self
            .client
            .clone()
            .acquire_lease(self.request(request))
            .await?
            .into_inner();
        match (answer.lease, answer.price_list) {
            (Some(lease), Some(list)) => Ok(Lent {
                amount: lease.amount_nanos,
                prices: Arc::new(table(&list)),
                scope: scope(lease)?,
                account_wide: answer.account_wide,
            }),
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
        let info = status.get_details_error_info();
        match info.as_ref().map(|info| info.reason.as_str()) {
            Some("INSUFFICIENT_BALANCE") => Self::Insufficient,
            Some("BUDGET_EXHAUSTED") => {
                let subject = info.and_then(|info| info.metadata.get("subject").cloned());
                Self::Budget(subject.unwrap_or_else(|| "key".to_owned()))
            }
            _ => Self::Failed(Box::new(status)),
        }
    }
}

/// The calls that a lease is for.
fn scope(lease: Lease) -> Result<Scope, LendError> {
    fn some<K>(text: &str) -> Result<Option<Id<K>>, LendError> {
        match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| LendError::Nonsense),
        }
    }
    Ok(Scope {
        app: some(&lease.app_id)?,
        key: some(&lease.key_id)?,
        models: lease.models,
    })
}

/// A price list, by model.
fn table(list: &PriceList) -> PriceTable {
    let mut models: HashMap<String, Prices> = HashMap::new();
    for price in &list.prices {
        // A unit that is not known here is never counted here.
        let Some(unit) = Unit::from_number(price.unit) else {
            continue;
        };
        let prices = models.entry(price.model.clone()).or_insert(Prices {
            version: list.version,
            tier: list.tier,
            units: wanwu_tariff::Prices::NONE,
        });
        prices.units = prices.units.with(unit, price.nanos_per_unit);
    }
    // A model with half a price has none.
    models.retain(|_, prices| prices.units.is_whole());
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
            unit: unit.number(),
            nanos_per_unit,
        };
        let unheard_of = Price {
            unit: 99,
            ..price("m", Unit::Call, 9)
        };
        let list = PriceList {
            version: 3,
            tier: 2,
            prices: vec![
                price("m", Unit::InputToken, 5),
                price("m", Unit::OutputToken, 7),
                price("m", Unit::CachedInputToken, 1),
                price("half", Unit::InputToken, 5),
                unheard_of,
            ],
            ..PriceList::default()
        };
        let table = table(&list);
        assert_eq!(
            table.models["m"],
            Prices {
                version: 3,
                tier: 2,
                units: wanwu_tariff::Prices::tokens(5, 7).with(Unit::CachedInputToken, 1),
            }
        );
        assert_eq!(table.models.len(), 1);
    }
}
