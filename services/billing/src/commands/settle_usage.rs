use sqlx::PgConnection;
use wanwu_events::HandlerError;

use crate::{
    app::App,
    domain::{lease::LeaseError, ledger::Movement},
    store::{
        calls::{self, Call},
        leases, ledger, prices,
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
    /// Billing lent no such lease.
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
}

impl App {
    /// Books a call in the consumer's transaction, once for its id: from what is lent to revenue.
    pub async fn settle_usage(
        &self,
        tx: &mut PgConnection,
        command: SettleUsage,
    ) -> Result<(), HandlerError> {
        let call = command.call;
        let now = self.clock.now();
        let stored = leases::lock(tx, call.lease_id).await?;
        let mut stored = stored.ok_or_else(|| refuse(UsageRefused::Lease))?;
        if stored.account_id != call.account_id {
            return Err(refuse(UsageRefused::Account));
        }
        if stored.price_version != call.price_version {
            return Err(refuse(UsageRefused::PriceVersion));
        }
        let list = prices::find(tx, call.price_version).await?;
        let list = list.ok_or_else(|| refuse(UsageRefused::PriceVersion))?;
        if list.amount(&call.model, call.input_tokens, call.output_tokens)
            != Some(call.amount_nanos)
        {
            return Err(refuse(UsageRefused::Amount));
        }
        if !calls::insert(tx, &call).await? {
            return Ok(());
        }
        let rest = stored
            .lease
            .settle(call.amount_nanos)
            .map_err(|error| refuse(UsageRefused::Overdrawn(error)))?;
        if call.amount_nanos > 0 {
            let movement = Movement::usage(call.account_id, call.amount_nanos);
            ledger::book(tx, self.ids.id(), movement, call.call_id.uuid(), now).await?;
        }
        leases::save(tx, &stored, now).await?;
        self.give_back(tx, &stored, rest, now).await?;
        metrics::counter!("wanwu_calls_settled_total").increment(1);
        Ok(())
    }
}

fn refuse(refused: UsageRefused) -> HandlerError {
    metrics::counter!("wanwu_usage_refused_total").increment(1);
    HandlerError::reject(refused)
}
