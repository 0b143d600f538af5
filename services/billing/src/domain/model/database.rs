//! Billing's database: what is committed.

use std::collections::BTreeMap;

use uuid::Uuid;
use wanwu_ids::AccountId;

use super::Bug;
use crate::domain::{
    lease::Lease,
    ledger::{Kind, LedgerAccount, Movement, changes},
    order::State,
};

/// An order and what came of it.
pub(super) struct Order {
    pub customer: usize,
    pub amount: i64,
    pub state: State,
    /// The provider's payment that it was credited for.
    pub payment: Option<usize>,
    pub credits: u32,
}

/// A lease with its place.
pub(super) struct Lent {
    pub id: usize,
    pub customer: usize,
    pub epoch: usize,
    pub lease: Lease,
}

/// A request that made an order.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub id: usize,
    pub body: i64,
}

/// A second payment that is to go back.
pub(super) struct Refund {
    pub payment: usize,
    pub done: bool,
}

/// Nobody spends what they do not hold.
#[derive(Debug)]
pub(super) struct Overdrawn;

/// Everything that is committed.
#[derive(Default)]
pub(super) struct Database {
    pub bug: Option<Bug>,
    pub orders: Vec<Order>,
    pub requests: Vec<Request>,
    pub leases: Vec<Lent>,
    /// Calls that are booked, with their amounts.
    pub calls: Vec<(usize, i64)>,
    pub fenced: Vec<usize>,
    pub refunds: Vec<Refund>,
    pub balances: BTreeMap<LedgerAccount, i64>,
    /// A customer's account was below zero at some time.
    pub negative: bool,
    pub booked: Vec<(Kind, usize)>,
}

/// The account of a customer of the model.
pub(super) fn account(customer: usize) -> AccountId {
    AccountId::from_uuid(Uuid::from_u128(customer as u128 + 1))
}

impl Database {
    pub(super) fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// As `ledger::book`: a cause is booked once, and no customer's account goes below zero. What is
    /// booked together commits together.
    pub(super) fn book(&mut self, movements: &[(Movement, usize)]) -> Result<(), Overdrawn> {
        let again = self.is(Bug::PaymentCheckThenWrite)
            || self.is(Bug::PaidOverwritten)
            || self.is(Bug::SecondPaymentCredited)
            || self.is(Bug::CallBilledAgain)
            || self.is(Bug::LeaseGrantedAgain);
        let movements: Vec<_> = movements
            .iter()
            .filter(|(m, cause)| m.nanos > 0 && (again || !self.booked.contains(&(m.kind, *cause))))
            .copied()
            .collect();
        let changes = changes(movements.iter().map(|(movement, _)| *movement));
        for (account, change) in &changes {
            let after = self.balance(*account) + change;
            if after < 0 && *account != LedgerAccount::CashWechat {
                if !self.is(Bug::LeaseCheckThenWrite) {
                    return Err(Overdrawn);
                }
                self.negative = true;
            }
        }
        for (account, change) in changes {
            *self.balances.entry(account).or_default() += change;
        }
        self.booked
            .extend(movements.iter().map(|(m, cause)| (m.kind, *cause)));
        Ok(())
    }

    pub(super) fn balance(&self, account: LedgerAccount) -> i64 {
        self.balances.get(&account).copied().unwrap_or_default()
    }

    pub(super) fn available(&self, customer: usize) -> i64 {
        self.balance(LedgerAccount::Available(account(customer)))
    }

    pub(super) fn lent(&mut self, id: usize) -> Option<&mut Lent> {
        self.leases.iter_mut().find(|lent| lent.id == id)
    }

    /// Settles a call on its lease, once for its id.
    pub(super) fn settle(
        &mut self,
        call: usize,
        lease: usize,
        amount: i64,
    ) -> Result<(), Overdrawn> {
        let again = self.is(Bug::CallBilledAgain);
        if self.calls.iter().any(|(id, _)| *id == call) && !again {
            return Ok(());
        }
        let lent = self.lent(lease).ok_or(Overdrawn)?;
        let customer = account(lent.customer);
        let rest = lent.lease.settle(amount).map_err(|_| Overdrawn)?;
        let mut movements = vec![(Movement::usage(customer, amount), call)];
        movements.extend(rest.map(|rest| (Movement::lease_return(customer, rest), lease)));
        self.book(&movements)?;
        self.calls.push((call, amount));
        Ok(())
    }
}
