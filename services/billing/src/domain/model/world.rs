//! The scheduler: one step of anybody at a time, as the seed says.

use super::{
    Bug, Course, Violation,
    bus::Bus,
    chance::Chance,
    database::{Database, Refund, Request},
    provider::Provider,
    router::{Journaled, Router, Served},
    work::{Line, Lock, Next, Process, Work},
};

/// Steps of a seed before it comes to rest, at least; and so many more at most.
const STEPS: (usize, usize) = (120, 120);
/// Steps to come to rest, at most.
const PATIENCE: u32 = 20_000;

/// Everything that there is.
pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) db: Database,
    pub(super) provider: Provider,
    pub(super) routers: Vec<Router>,
    pub(super) journal: Vec<Journaled>,
    pub(super) served: Vec<Served>,
    pub(super) usage: Bus,
    pub(super) paid: Bus,
    pub(super) works: Vec<Work>,
    locks: Vec<Lock>,
    /// How often identity told each order's credit.
    pub(super) told: Vec<u32>,
    pub(super) closed_leases: Vec<usize>,
    pub(super) other_body_taken: bool,
    pub(super) customers: usize,
    pub(super) numbers: usize,
    pub(super) epochs: usize,
    pub(super) faults: bool,
    course: Course,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        Self {
            chance: Chance::new(seed),
            db: Database {
                bug,
                ..Database::default()
            },
            provider: Provider::default(),
            routers: vec![Router::new(0), Router::new(1)],
            journal: Vec::new(),
            served: Vec::new(),
            usage: Bus::default(),
            paid: Bus::default(),
            works: Vec::new(),
            locks: Vec::new(),
            told: Vec::new(),
            closed_leases: Vec::new(),
            other_body_taken: false,
            customers: 2,
            numbers: 0,
            epochs: 1,
            faults: true,
            course: Course::default(),
        }
    }

    pub(super) fn run(mut self) -> Result<Course, Violation> {
        for _ in 0..STEPS.0 + self.chance.below(STEPS.1) {
            if self.works.is_empty() || self.chance.one_in(3) {
                self.something_new();
            } else {
                let place = self.chance.below(self.works.len());
                self.advance(place);
            }
            if self.chance.one_in(25) {
                self.something_dies();
            }
        }
        self.come_to_rest()?;
        self.verdict()?;
        self.course.credited = self.db.orders.iter().map(|order| order.credits).sum();
        self.course.billed = u32::try_from(self.db.calls.len()).unwrap_or(u32::MAX);
        Ok(self.course)
    }

    fn something_new(&mut self) {
        let orders = self.db.orders.len();
        let order = self.chance.below(orders.max(1));
        match self.chance.below(14) {
            0 => self.request(),
            1 | 2 if orders > 0 => self.pay(order),
            3 if orders > 0 && self.chance.one_in(2) => self.forge(order),
            4 if orders > 0 => self.expire(order),
            5 if orders > 0 => self.query(order),
            6 => self.deliver_notice(),
            7 => self.ask_for_lease(),
            8 | 9 => self.start_call(),
            10 => {
                let router = self.chance.below(self.routers.len());
                self.end_call(router);
            }
            11 => {
                let router = self.chance.below(self.routers.len());
                self.close_lease(router);
            }
            12 => {
                let line = self.any_line();
                self.relay_one(line);
            }
            13 => {
                let line = self.any_line();
                self.consume_one(line);
            }
            _ => self.refund_all(),
        }
    }

    fn any_line(&mut self) -> Line {
        if self.chance.one_in(2) {
            Line::Usage
        } else {
            Line::Paid
        }
    }

    fn request(&mut self) {
        let id = self.chance.below(4);
        let body = 40 + 20 * id as i64;
        self.works.push(Work::Create(Request { id, body }));
        if self.chance.one_in(4) {
            self.works
                .push(Work::Create(Request { id, body: body + 1 }));
        }
    }

    fn pay(&mut self, order: usize) {
        let channel = usize::from(self.chance.one_in(4));
        let amount = self.db.orders[order].amount;
        if let Some(notice) = self.provider.pay(order, channel, amount) {
            // Lost, once, or several times.
            for _ in 0..self.chance.below(4) {
                self.provider.notices.push(notice);
            }
        }
    }

    fn deliver_notice(&mut self) {
        let waiting = self.provider.notices.len();
        if waiting > 0 {
            let place = self.chance.below(waiting);
            let notice = self.provider.notices.swap_remove(place);
            self.works.push(Work::Notice(notice, None));
        }
    }

    fn refund_all(&mut self) {
        let due = |(place, refund): (usize, &Refund)| (!refund.done).then_some(place);
        let due: Vec<_> = self.db.refunds.iter().enumerate().filter_map(due).collect();
        let works = due
            .into_iter()
            .map(|place| Work::Refund(place, None, false));
        self.works.extend(works);
    }

    pub(super) fn bus(&mut self, line: Line) -> &mut Bus {
        match line {
            Line::Usage => &mut self.usage,
            Line::Paid => &mut self.paid,
        }
    }

    fn advance(&mut self, place: usize) {
        self.course.steps += 1;
        let work = self.works.swap_remove(place);
        let next = match work {
            Work::Create(request) => self.create(request),
            Work::Notice(notice, read) => self.notice(notice, read),
            Work::Closed(order) => self.closed(order),
            Work::Refund(place, number, made) => self.refund(place, number, made),
            Work::Tell(order) => {
                self.tell(order);
                Next::Done
            }
            Work::Half(customer, amount) => {
                self.half(customer, amount);
                Next::Done
            }
            Work::Grant(grant) => self.grant(grant),
            Work::Finish(router, call, id, recorded) => self.finish(router, call, id, recorded),
            Work::Recover(epoch, fenced) => self.recover(epoch, fenced),
            Work::Relay(line, row, stage) => self.relay(line, row, stage),
            Work::Consume(line, message, stage) => self.consume(line, message, stage),
        };
        match next {
            Next::Again(work) | Next::Wait(work) => self.works.push(work),
            Next::Done => {}
        }
    }

    /// Takes all of these, or none and answers `false`.
    pub(super) fn lock(&mut self, locks: &[Lock]) -> bool {
        let free = locks.iter().all(|lock| !self.locks.contains(lock));
        if free {
            self.locks.extend(locks);
        }
        free
    }

    pub(super) fn unlock(&mut self, locks: &[Lock]) {
        self.locks.retain(|lock| !locks.contains(lock));
    }

    pub(super) fn drop_works(&mut self, process: Process) {
        self.works.retain(|work| work.owner() != Some(process));
    }

    fn something_dies(&mut self) {
        self.course.crashes += 1;
        match self.chance.below(6) {
            0 | 1 => {
                self.drop_works(Process::Billing);
                self.locks.clear();
                self.usage.disconnect();
            }
            2 => {
                self.drop_works(Process::Identity);
                self.paid.disconnect();
            }
            3 => {
                let router = self.chance.below(self.routers.len());
                self.kill_router(router);
            }
            4 => {
                // The broker: what was delivered is delivered again, twice in hand for a while.
                self.usage.disconnect();
                self.paid.disconnect();
            }
            _ => {
                let line = self.any_line();
                let bus = self.bus(line);
                bus.unbound = !bus.unbound;
            }
        }
    }

    /// No more faults: everything that retries by itself does so until nothing is left.
    fn come_to_rest(&mut self) -> Result<(), Violation> {
        self.faults = false;
        (self.usage.unbound, self.paid.unbound) = (false, false);
        // What no process remembers is delivered again when its connection is seen to be dead.
        self.drop_works(Process::Identity);
        self.paid.disconnect();
        self.drop_works(Process::Billing);
        self.locks.clear();
        self.usage.disconnect();
        for _ in 0..12 {
            for order in 0..self.db.orders.len() {
                self.query(order);
            }
            while !self.provider.notices.is_empty() {
                self.deliver_notice();
            }
            self.refund_all();
            for router in 0..self.routers.len() {
                while !self.routers[router].running.is_empty() {
                    self.end_call(router);
                }
                for _ in 0..self.routers[router].held.len() {
                    self.close_lease(router);
                }
            }
            for line in [Line::Usage, Line::Paid] {
                let by_id = self.db.is(Bug::RelayById);
                let mut rows = self.bus(line).pending(by_id);
                rows.sort_by_key(|row| row.id);
                self.works
                    .extend(rows.into_iter().map(|row| Work::Relay(line, row, 0)));
                while !self.bus(line).queue.is_empty() {
                    self.consume_one(line);
                }
            }
            self.finish_works()?;
        }
        Ok(())
    }

    fn finish_works(&mut self) -> Result<(), Violation> {
        let limit = self.course.steps + PATIENCE;
        while !self.works.is_empty() {
            if self.course.steps > limit {
                return Err(Violation::Stuck);
            }
            let place = self.chance.below(self.works.len());
            self.advance(place);
        }
        Ok(())
    }
}
