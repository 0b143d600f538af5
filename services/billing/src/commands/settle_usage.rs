use sqlx::PgConnection;
use wanwu_events::HandlerError;

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

/// A call ended and is to be paid.
pub struct SettleUsage {
    /// Its bill, as the router made it.
    pub call: Call,
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
    /// The call was billed at another price list, or another tier of it, than its lease's.
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
    const fn kind(self) -> &'static str {
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
        let reason = refused.kind();
        metrics::counter!("wanwu_usage_refused_total", "reason" => reason).increment(1);
        Self::reject(refused)
    }
}

impl App {
    /// Books a call in the consumer's transaction, once for its id: from what is lent to revenue.
    /// When it was the last of a closed lease, the rest of the lease goes back with it.
    pub async fn settle_usage(
        &self,
        tx: &mut PgConnection,
        command: SettleUsage,
    ) -> Result<(), HandlerError> {
        let mut call = command.call;
        let now = self.now();
        let stored = leases::lock(tx, call.lease_id).await?;
        let mut stored = stored.ok_or(UsageRefused::Lease)?;
        self.check(tx, &stored, &call).await?;
        call.price_tier = stored.price_tier;
        if !calls::insert(tx, &call).await? {
            // Another event about the same call.
            let settled = calls::find(tx, call.account_id, call.call_id).await?;
            let same = settled.is_some_and(|settled| settled.is_bill_of(&call));
            return if same {
                Ok(())
            } else {
                Err(UsageRefused::Conflict.into())
            };
        }
        let rest = stored.lease.settle(call.amount_nanos);
        let rest = rest.map_err(UsageRefused::Overdrawn)?;
        leases::save(tx, &stored, now).await?;
        let mut postings = vec![Posting {
            movement: Movement::usage(call.account_id, call.amount_nanos),
            cause_id: call.call_id.uuid(),
        }];
        // Together, so that the accounts are locked in their order.
        postings.extend(rest.map(|rest| give_back(&stored, rest)));
        ledger::book(tx, &self.ids, &postings, now).await?;
        metrics::counter!("wanwu_calls_settled_total").increment(1);
        Ok(())
    }

    async fn check(
        &self,
        tx: &mut PgConnection,
        stored: &StoredLease,
        call: &Call,
    ) -> Result<(), HandlerError> {
        if stored.account_id != call.account_id {
            return Err(UsageRefused::Account.into());
        }
        // A router of a version that knows of no tiers tells none; the amount says at which it billed.
        let tier_differs = call.price_tier != stored.price_tier && call.price_tier != 0;
        if stored.price_version != call.price_version || tier_differs {
            return Err(UsageRefused::PriceVersion.into());
        }
        let list = self.price_list_version(tx, call.price_version).await;
        let list = list.map_err(|error| match error {
            Error::Database(error) => HandlerError::from(error),
            other => HandlerError::retry(other),
        })?;
        let cost = list.cost(&call.model, stored.price_tier, call.counts());
        if cost != Ok(call.amount_nanos) {
            return Err(UsageRefused::Amount.into());
        }
        Ok(())
    }
}
