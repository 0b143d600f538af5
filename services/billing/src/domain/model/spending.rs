//! Leases, calls, and what is left of a router that died.

use super::{
    Bug,
    database::{Lent, account},
    router::{Held, Journaled, Router, Served},
    work::{Grant, Lock, Next, Process, Work},
    world::World,
};
use crate::domain::{
    lease::{Lease, State, Tally},
    ledger::Movement,
};

impl World {
    pub(super) fn ask_for_lease(&mut self) {
        let router = self.chance.below(self.routers.len());
        self.numbers += 1;
        let grant = Grant {
            router,
            epoch: self.routers[router].epoch,
            lease: self.numbers,
            customer: self.chance.below(self.customers),
            want: 10 + self.chance.below(60) as i64,
            read: None,
            granted: None,
        };
        self.works.push(Work::Grant(grant));
        // Asked again, because no answer came in time.
        if self.chance.one_in(3) {
            self.works.push(Work::Grant(grant));
        }
    }

    pub(super) fn grant(&mut self, grant: Grant) -> Next {
        let locks = [Lock::Epoch(grant.epoch), Lock::Account(grant.customer)];
        let unlocked = self.db.is(Bug::LeaseCheckThenWrite);
        match (grant.granted, grant.read) {
            (Some(granted), _) => {
                self.receive(&grant, granted);
                Next::Done
            }
            (None, None) => {
                if !unlocked && !self.lock(&locks) {
                    return Next::Wait(Work::Grant(grant));
                }
                let fenced = self.db.fenced.contains(&grant.epoch);
                if fenced && !self.db.is(Bug::FencedEpochGranted) {
                    self.unlock(&locks);
                    return Next::Done;
                }
                let read = Some(self.db.available(grant.customer));
                Next::Again(Work::Grant(Grant { read, ..grant }))
            }
            (None, Some(available)) => {
                let granted = self.lend(&grant, available);
                self.unlock(&locks);
                match granted {
                    Some(_) => Next::Again(Work::Grant(Grant { granted, ..grant })),
                    None => Next::Done,
                }
            }
        }
    }

    fn lend(&mut self, grant: &Grant, available: i64) -> Option<i64> {
        let made = self.db.lent(grant.lease).map(|lent| lent.lease);
        if let Some(made) = made
            && !self.db.is(Bug::LeaseGrantedAgain)
        {
            return (made.state == State::Open).then_some(made.amount);
        }
        let amount = grant.want.min(available);
        if amount <= 0 {
            return None;
        }
        let movement = Movement::lease(account(grant.customer), amount);
        self.db.book(&[(movement, grant.lease)]).ok()?;
        if made.is_none() {
            self.db.leases.push(Lent {
                id: grant.lease,
                customer: grant.customer,
                epoch: grant.epoch,
                lease: Lease::open(amount),
            });
        }
        Some(amount)
    }

    fn receive(&mut self, grant: &Grant, amount: i64) {
        let router = &mut self.routers[grant.router];
        let held = router.held.iter().any(|held| held.lease == grant.lease);
        // A lease that was held and given back is not taken up again.
        if router.epoch == grant.epoch && !held && !self.closed_leases.contains(&grant.lease) {
            router.held.push(Held {
                lease: grant.lease,
                customer: grant.customer,
                left: amount,
                calls: 0,
                sum: 0,
            });
        }
    }

    pub(super) fn start_call(&mut self) {
        let router = self.chance.below(self.routers.len());
        let cost = 1 + self.chance.below(12) as i64;
        let journaled = !self.db.is(Bug::CallNotJournaled);
        let router = &mut self.routers[router];
        let Some(held) = router.held.iter_mut().find(|held| held.left >= cost) else {
            return;
        };
        held.left -= cost;
        held.calls += 1;
        held.sum += cost;
        let call = self.served.len();
        self.served.push(Served {
            customer: held.customer,
            lease: held.lease,
            cost,
        });
        router.running.push(call);
        if journaled {
            self.journal.push(Journaled {
                call,
                epoch: router.epoch,
                ended: false,
            });
        }
    }

    pub(super) fn end_call(&mut self, router: usize) {
        let running = self.routers[router].running.len();
        if running > 0 {
            let place = self.chance.below(running);
            let call = self.routers[router].running.swap_remove(place);
            self.works.push(Work::Finish(router, call, None, false));
        }
    }

    pub(super) fn finish(
        &mut self,
        router: usize,
        call: usize,
        id: Option<usize>,
        recorded: bool,
    ) -> Next {
        let Some(id) = id else {
            let id = self.usage.take_id();
            return Next::Again(Work::Finish(router, call, Some(id), false));
        };
        if !recorded {
            match self.journal.iter_mut().find(|line| line.call == call) {
                Some(line) => line.ended = true,
                None => self.journal.push(Journaled {
                    call,
                    epoch: self.routers[router].epoch,
                    ended: true,
                }),
            }
            if self.db.is(Bug::UsageOutsideTransaction) {
                return Next::Again(Work::Finish(router, call, Some(id), true));
            }
        }
        self.usage.commit(id, call);
        Next::Done
    }

    /// Gives back a lease whose calls have all ended.
    pub(super) fn close_lease(&mut self, router: usize) {
        let ended = |lease: usize| {
            let calls = self.journal.iter().filter(|line| line.ended);
            calls
                .filter(|line| self.served[line.call].lease == lease)
                .count() as i64
        };
        let held = &self.routers[router].held;
        let Some(place) = held.iter().position(|held| ended(held.lease) == held.calls) else {
            return;
        };
        let held = self.routers[router].held.swap_remove(place);
        self.closed_leases.push(held.lease);
        let stated = Tally {
            calls: held.calls,
            nanos: held.sum,
        };
        self.close(held.lease, stated);
        // The answer was lost and it is stated again.
        if self.chance.one_in(3) {
            self.close(held.lease, stated);
        }
    }

    fn close(&mut self, lease: usize, stated: Tally) {
        let kept = self.db.is(Bug::HoldNotReleased);
        let early = self.db.is(Bug::FreedBeforeSettled);
        let Some(lent) = self.db.lent(lease) else {
            return;
        };
        let customer = account(lent.customer);
        let first = lent.lease.state == State::Open;
        let Ok(rest) = lent.lease.close(stated) else {
            return;
        };
        let whole = lent.lease.amount - lent.lease.settled.nanos;
        let rest = if early && first { Some(whole) } else { rest };
        if let Some(rest) = rest
            && !kept
        {
            let movement = Movement::lease_return(customer, rest);
            // Seen by the verdict when it fails: the hold stays.
            let _ = self.db.book(&[(movement, lease)]);
        }
    }

    pub(super) fn kill_router(&mut self, router: usize) {
        self.drop_works(Process::Router(router));
        let dead = self.routers[router].epoch;
        self.epochs += 1;
        self.routers[router] = Router::new(self.epochs);
        self.works.push(Work::Recover(dead, false));
    }

    pub(super) fn recover(&mut self, epoch: usize, fenced: bool) -> Next {
        if !fenced {
            let locks = [Lock::Epoch(epoch)];
            if !self.lock(&locks) {
                return Next::Wait(Work::Recover(epoch, false));
            }
            self.db.fenced.push(epoch);
            self.unlock(&locks);
            return Next::Again(Work::Recover(epoch, true));
        }
        for line in 0..self.journal.len() {
            let Journaled { call, ended, .. } = self.journal[line];
            // Who recovers tells some calls that were told before.
            let tell = self.journal[line].epoch == epoch && (!ended || self.chance.one_in(3));
            if tell && !(ended && self.db.is(Bug::UsageOutsideTransaction)) {
                self.journal[line].ended = true;
                let id = self.usage.take_id();
                self.usage.commit(id, call);
            }
        }
        for place in 0..self.db.leases.len() {
            let (lease, of) = (self.db.leases[place].id, self.db.leases[place].epoch);
            if of == epoch && !self.closed_leases.contains(&lease) {
                self.close_orphan(lease);
            }
        }
        Next::Done
    }

    fn close_orphan(&mut self, lease: usize) {
        let mut stated = Tally::default();
        for line in &self.journal {
            let served = self.served[line.call];
            if served.lease == lease {
                stated.calls += 1;
                stated.nanos += served.cost;
            }
        }
        if stated.calls > 0 || !self.db.is(Bug::OrphanLeaseKept) {
            self.close(lease, stated);
        }
    }
}
