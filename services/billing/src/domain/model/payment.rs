//! Orders, notices, closing and refunds.

use super::{
    Bug,
    database::{Order, Refund, Request, account},
    provider::Notice,
    work::{Lock, Next, Work},
    world::World,
};
use crate::domain::{
    ledger::{LedgerAccount, Movement},
    order::{Event, Money, State},
};

impl World {
    pub(super) fn create(&mut self, request: Request) -> Next {
        let made = self.db.requests.iter().find(|r| r.id == request.id);
        match made {
            Some(made) if made.body != request.body => {
                self.other_body_taken |= self.db.is(Bug::OtherBodyTaken);
                return Next::Done;
            }
            Some(_) if !self.db.is(Bug::RequestNotRemembered) => return Next::Done,
            _ => {}
        }
        self.db.requests.push(request);
        let (state, _) = State::Created.after(Event::ChannelOpened);
        self.db.orders.push(Order {
            customer: request.id % self.customers,
            amount: request.body,
            state,
            payment: None,
            credits: 0,
        });
        self.told.push(0);
        Next::Done
    }

    pub(super) fn notice(&mut self, notice: Notice, read: Option<State>) -> Next {
        let Some(state) = read else {
            let order = &self.db.orders[notice.order];
            let believed = (notice.signed || self.db.is(Bug::SignatureNotChecked))
                && (notice.ours || self.db.is(Bug::ProviderNotBound))
                && (notice.amount == order.amount || self.db.is(Bug::AmountNotChecked));
            let state = order.state;
            if !believed {
                return Next::Done;
            }
            let locks = [Lock::Order(notice.order)];
            if !self.db.is(Bug::PaymentCheckThenWrite) && !self.lock(&locks) {
                return Next::Wait(Work::Notice(notice, None));
            }
            return Next::Again(Work::Notice(notice, Some(state)));
        };
        self.apply(notice, state);
        self.unlock(&[Lock::Order(notice.order)]);
        Next::Done
    }

    fn apply(&mut self, notice: Notice, state: State) {
        if state == State::Expired && self.db.is(Bug::LatePaymentDropped) {
            return;
        }
        let (next, money) = state.after(Event::PaymentProved);
        let credit = money == Money::Credit;
        let second = !credit && self.db.orders[notice.order].payment != Some(notice.payment);
        if credit || (second && self.db.is(Bug::SecondPaymentCredited)) {
            self.credit(notice, next);
        } else if second && !self.db.is(Bug::SecondPaymentKept) {
            let known = |refund: &Refund| refund.payment == notice.payment;
            if !self.db.refunds.iter().any(known) {
                self.db.refunds.push(Refund {
                    payment: notice.payment,
                    done: false,
                });
            }
        }
    }

    fn credit(&mut self, notice: Notice, next: State) {
        let order = &mut self.db.orders[notice.order];
        order.state = next;
        order.payment = Some(notice.payment);
        order.credits += 1;
        let (customer, amount) = (order.customer, order.amount);
        if self.db.is(Bug::OneSidedBooking) {
            *self
                .db
                .balances
                .entry(LedgerAccount::CashWechat)
                .or_default() -= amount;
            self.works.push(Work::Half(customer, amount));
        } else {
            let movement = Movement::top_up(LedgerAccount::CashWechat, account(customer), amount);
            // Cash goes below zero: a top-up is never refused.
            let _ = self.db.book(&[(movement, notice.order)]);
        }
        if self.db.is(Bug::EventOutsideTransaction) {
            self.works.push(Work::Tell(notice.order));
        } else {
            self.tell(notice.order);
        }
    }

    pub(super) fn tell(&mut self, order: usize) {
        let id = self.paid.take_id();
        self.paid.commit(id, order);
    }

    pub(super) fn half(&mut self, customer: usize, amount: i64) {
        let available = LedgerAccount::Available(account(customer));
        *self.db.balances.entry(available).or_default() += amount;
    }

    /// Asks the provider about an order that nobody told of, and closes it when it is unpaid.
    pub(super) fn expire(&mut self, order: usize) {
        if self.db.orders[order].state == State::Paid {
            return;
        }
        if self.provider.payments_of(order).next().is_some() {
            self.query(order);
        } else {
            self.provider.closed.push(order);
            self.works.push(Work::Closed(order));
        }
    }

    pub(super) fn query(&mut self, order: usize) {
        if !self.db.is(Bug::NoticesOnly) {
            let payments: Vec<_> = self.provider.payments_of(order).collect();
            for payment in payments {
                let notice = self.provider.notice(payment);
                self.works.push(Work::Notice(notice, None));
            }
        }
    }

    pub(super) fn closed(&mut self, order: usize) -> Next {
        if !self.lock(&[Lock::Order(order)]) {
            return Next::Wait(Work::Closed(order));
        }
        let state = &mut self.db.orders[order].state;
        *state = if self.db.bug == Some(Bug::PaidOverwritten) {
            State::Expired
        } else {
            state.after(Event::ClosedUnpaid).0
        };
        self.unlock(&[Lock::Order(order)]);
        Next::Done
    }

    pub(super) fn refund(&mut self, place: usize, number: Option<usize>, made: bool) -> Next {
        let payment = self.db.refunds[place].payment;
        // A forged payment that a bug let in cannot be paid back.
        if self.db.refunds[place].done || payment >= self.provider.payments.len() {
            return Next::Done;
        }
        match (number, made) {
            (None, _) => {
                self.numbers += 1;
                let own = self.db.is(Bug::RefundNotIdempotent);
                let number = if own { 1000 + self.numbers } else { payment };
                Next::Again(Work::Refund(place, Some(number), false))
            }
            (Some(number), false) => {
                self.provider.refund(payment, number);
                Next::Again(Work::Refund(place, Some(number), true))
            }
            (Some(_), true) => {
                self.db.refunds[place].done = true;
                Next::Done
            }
        }
    }

    /// Somebody says that an order was paid, and it was not.
    pub(super) fn forge(&mut self, order: usize) {
        let amount = self.db.orders[order].amount;
        let mut notice = Notice {
            payment: 1_000_000 + order,
            order,
            amount,
            signed: true,
            ours: true,
        };
        match self.chance.below(3) {
            0 => notice.signed = false,
            1 => notice.ours = false,
            _ => notice.amount = 1,
        }
        self.provider.notices.push(notice);
    }
}
