//! What must hold when everything has come to rest, against the provider's and the engine's records.

use super::{database::account, world::World};
use crate::domain::ledger::LedgerAccount;

/// What does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The balances do not sum to zero.
    #[error("the ledger sums to {0}")]
    Imbalance(i64),
    /// An account was below zero.
    #[error("a customer's account went below zero")]
    Negative,
    /// An order was not credited as it was paid.
    #[error("order {order} was paid {paid} times and credited {credits} times")]
    Credits {
        /// The order.
        order: usize,
        /// Payments that the provider has.
        paid: usize,
        /// Credits.
        credits: u32,
    },
    /// A payment was not refunded exactly when it should be.
    #[error("payment {0} was refunded {1} times")]
    Refunds(usize, u32),
    /// A call was not billed once.
    #[error("call {0} was billed {1} times or wrongly")]
    Bills(usize, usize),
    /// A customer does not hold what was paid less what was spent.
    #[error("customer {customer} holds {holds} instead of {should}")]
    Balance {
        /// The customer.
        customer: usize,
        /// Free.
        holds: i64,
        /// Paid less spent.
        should: i64,
    },
    /// Something is set aside although every lease is over.
    #[error("customer {0} has {1} set aside for ever")]
    Frozen(usize, i64),
    /// A credit was not told once.
    #[error("the credit of order {0} was told {1} times")]
    Told(usize, u32),
    /// A request made more than one order.
    #[error("a request made more than one order")]
    Repeated,
    /// A request id was taken with another body.
    #[error("a request id was taken with another body")]
    OtherBody,
    /// It does not come to rest.
    #[error("something waits for ever")]
    Stuck,
}

impl World {
    pub(super) fn verdict(&self) -> Result<(), Violation> {
        if self.other_body_taken {
            return Err(Violation::OtherBody);
        }
        let mut requests: Vec<_> = self.db.requests.iter().map(|request| request.id).collect();
        requests.sort_unstable();
        requests.dedup();
        if requests.len() != self.db.orders.len() {
            return Err(Violation::Repeated);
        }
        self.payments_hold()?;
        self.calls_hold()?;
        self.balances_hold()
    }

    fn payments_hold(&self) -> Result<(), Violation> {
        for (order, stored) in self.db.orders.iter().enumerate() {
            let paid = self.provider.payments_of(order).count();
            let credits = stored.credits;
            if u32::from(paid > 0) != credits {
                return Err(Violation::Credits {
                    order,
                    paid,
                    credits,
                });
            }
            for payment in self.provider.payments_of(order) {
                let should = u32::from(stored.payment != Some(payment));
                let refunds = self.provider.payments[payment].refunds;
                if refunds != should {
                    return Err(Violation::Refunds(payment, refunds));
                }
            }
            if self.told[order] != credits {
                return Err(Violation::Told(order, self.told[order]));
            }
        }
        Ok(())
    }

    fn calls_hold(&self) -> Result<(), Violation> {
        for (call, served) in self.served.iter().enumerate() {
            let bills = || self.db.calls.iter().filter(|(id, _)| *id == call);
            if bills().count() != 1 || bills().any(|(_, amount)| *amount != served.cost) {
                return Err(Violation::Bills(call, bills().count()));
            }
        }
        Ok(())
    }

    fn balances_hold(&self) -> Result<(), Violation> {
        let sum = self.db.balances.values().sum();
        if sum != 0 {
            return Err(Violation::Imbalance(sum));
        }
        if self.db.negative {
            return Err(Violation::Negative);
        }
        for customer in 0..self.customers {
            let of = |id: usize| id == customer;
            let orders = self.db.orders.iter().filter(|order| of(order.customer));
            let paid: i64 = orders.filter(|o| o.credits > 0).map(|o| o.amount).sum();
            let served = self.served.iter().filter(|call| of(call.customer));
            let spent: i64 = served.map(|call| call.cost).sum();
            let leased = self.db.balance(LedgerAccount::Leased(account(customer)));
            if leased != 0 {
                return Err(Violation::Frozen(customer, leased));
            }
            let (holds, should) = (self.db.available(customer), paid - spent);
            if holds != should {
                return Err(Violation::Balance {
                    customer,
                    holds,
                    should,
                });
            }
        }
        Ok(())
    }
}
