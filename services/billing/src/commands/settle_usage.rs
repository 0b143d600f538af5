use std::collections::{BTreeMap, btree_map::Entry};

use sqlx::PgConnection;
use wanwu_events::HandlerError;
use wanwu_ids::CallId;

use super::close_lease::give_back;
use crate::{
    app::App,
    domain::{lease::LeaseError, ledger::Movement},
    error::Error,
    store::{
        calls::{self, Call},
        leases::{self, StoredLease},
        ledger::{self, Posting},
    },
};

/// Calls ended and are to be paid.
pub struct SettleUsage {
    /// Their bills, as the routers made them.
    pub calls: Vec<Call>,
}

/// The usage cannot be true: it becomes a dead letter, and nothing is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageRefused {
    /// Billing lent no such lease. A lease is stored before the router hears of it, so this is not
    /// a matter of order.
    #[error("there is no such lease")]
    Lease,
    /// The lease is another account's.
    #[error("the lease is another account's")]
    Account,
    /// The call was billed at another price list than its lease's.
    #[error("the price list is not the lease's")]
    PriceVersion,
    /// The amount is not units times prices.
    #[error("the amount is not what the units cost")]
    Amount,
    /// The lease does not allow it.
    #[error("the lease does not allow it")]
    Overdrawn(#[source] LeaseError),
    /// The call was settled with other numbers.
    #[error("the call was settled with other numbers")]
    Conflict,
    /// A field is not what the contract says.
    #[error("a field of the usage is not valid")]
    Field,
}

impl UsageRefused {
    /// For metrics.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Account => "account",
            Self::PriceVersion => "price_version",
            Self::Amount => "amount",
            Self::Overdrawn(_) => "overdrawn",
            Self::Conflict => "conflict",
            Self::Field => "field",
        }
    }
}

impl From<UsageRefused> for HandlerError {
    fn from(refused: UsageRefused) -> Self {
        Self::reject(refused)
    }
}

impl App {
    /// Books calls in the consumer's transaction, each once for its id: from what is lent to revenue.
    /// With the last of a closed lease the rest of the lease goes back. All or none: one that cannot
    /// be true refuses all.
    pub async fn settle_usage(
        &self,
        tx: &mut PgConnection,
        command: SettleUsage,
    ) -> Result<(), HandlerError> {
        let now = self.now();
        let mut ids: Vec<_> = command.calls.iter().map(|call| call.lease_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut leases = leases::lock_all(tx, &ids).await?;
        let mut bills = BTreeMap::new();
        for call in command.calls {
            let stored = leases.get(&call.lease_id).ok_or(UsageRefused::Lease)?;
            self.check(tx, stored, &call).await?;
            match bills.entry(call.call_id) {
                Entry::Vacant(new) => drop(new.insert(call)),
                Entry::Occupied(other) => same(other.get(), &call)?,
            }
        }
        let bills = unsettled(tx, bills).await?;
        let mut postings = Vec::new();
        for bill in bills.values() {
            let stored = leases.get_mut(&bill.lease_id).ok_or(UsageRefused::Lease)?;
            let rest = stored.lease.settle(bill.amount_nanos);
            let rest = rest.map_err(UsageRefused::Overdrawn)?;
            postings.push(Posting {
                movement: Movement::usage(bill.account_id, bill.amount_nanos),
                cause_id: bill.call_id.uuid(),
            });
            postings.extend(rest.map(|rest| give_back(stored, rest)));
        }
        if !bills.is_empty() {
            leases::save_settled(tx, leases.values(), now).await?;
            // Together, so that the accounts are locked in their order.
            ledger::book(tx, &self.ids, &postings, now).await?;
        }
        metrics::counter!("wanwu_calls_settled_total").increment(bills.len() as u64);
        Ok(())
    }

    /// What one call says, against its lease and the price list.
    async fn check(
        &self,
        tx: &mut PgConnection,
        stored: &StoredLease,
        call: &Call,
    ) -> Result<(), HandlerError> {
        if stored.account_id != call.account_id {
            return Err(UsageRefused::Account.into());
        }
        if stored.price_version != call.price_version {
            return Err(UsageRefused::PriceVersion.into());
        }
        let list = self.price_list_version(tx, call.price_version).await;
        let list = list.map_err(|error| match error {
            Error::Database(error) => HandlerError::from(error),
            other => HandlerError::retry(other),
        })?;
        let cost = list.amount(&call.model, call.input_tokens, call.output_tokens);
        if cost != Some(call.amount_nanos) {
            return Err(UsageRefused::Amount.into());
        }
        Ok(())
    }
}

/// Two events about one call tell the same.
fn same(one: &Call, other: &Call) -> Result<(), UsageRefused> {
    one.is_bill_of(other)
        .then_some(())
        .ok_or(UsageRefused::Conflict)
}

/// Writes the bills; answers those that were not there. One that was is another event's about the
/// same call.
async fn unsettled(
    tx: &mut PgConnection,
    mut bills: BTreeMap<CallId, Call>,
) -> Result<BTreeMap<CallId, Call>, HandlerError> {
    let new = calls::insert_all(tx, bills.values()).await?;
    let old: Vec<_> = bills
        .keys()
        .filter(|id| !new.contains(id))
        .copied()
        .collect();
    if !old.is_empty() {
        for settled in calls::find_all(tx, &old).await? {
            if let Some(bill) = bills.get(&settled.call_id) {
                same(&settled, bill)?;
            }
        }
        bills.retain(|id, _| new.contains(id));
    }
    Ok(bills)
}
