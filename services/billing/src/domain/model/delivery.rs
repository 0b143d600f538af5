//! From an outbox through the broker to an effect.

use super::{
    Bug,
    bus::{Message, Row},
    router::Served,
    work::{Line, Next, Work},
    world::World,
};

impl World {
    pub(super) fn relay_one(&mut self, line: Line) {
        let by_id = self.db.is(Bug::RelayById);
        let mut pending = self.bus(line).pending(by_id);
        if pending.is_empty() {
            return;
        }
        pending.sort_by_key(|row| row.id);
        let place = if by_id {
            0
        } else {
            self.chance.below(pending.len())
        };
        self.works.push(Work::Relay(line, pending[place], 0));
    }

    pub(super) fn consume_one(&mut self, line: Line) {
        let waiting = self.bus(line).queue.len();
        if waiting > 0 {
            let place = self.chance.below(waiting);
            let bus = self.bus(line);
            let message = bus.queue.swap_remove(place);
            bus.unacknowledged.push(message);
            self.works.push(Work::Consume(line, message, 0));
        }
    }

    pub(super) fn relay(&mut self, line: Line, row: Row, stage: u8) -> Next {
        match stage {
            0 => {
                if self.db.is(Bug::MarkBeforeConfirm) {
                    self.bus(line).mark(row.id);
                }
                Next::Again(Work::Relay(line, row, 1))
            }
            1 => {
                let fate = if self.faults { self.chance.below(6) } else { 5 };
                let blind = self.db.is(Bug::PublishWithoutMandatory);
                let bus = self.bus(line);
                // The connection broke before the message was out.
                if fate == 0 {
                    return Next::Done;
                }
                if bus.unbound {
                    // It comes back, or nobody asked for that.
                    return match blind {
                        true => Next::Again(Work::Relay(line, row, 2)),
                        false => Next::Done,
                    };
                }
                bus.queue.push(Message {
                    event: row.id,
                    payload: row.payload,
                });
                // The connection broke before the answer was here.
                if fate == 1 {
                    return Next::Done;
                }
                Next::Again(Work::Relay(line, row, 2))
            }
            _ => {
                self.bus(line).mark(row.id);
                Next::Done
            }
        }
    }

    pub(super) fn consume(&mut self, line: Line, message: Message, stage: u8) -> Next {
        let again = |stage| Next::Again(Work::Consume(line, message, stage));
        match stage {
            0 => {
                if self.db.is(Bug::AckBeforeCommit) {
                    self.bus(line).acknowledge(message);
                }
                again(1)
            }
            1 => {
                if self.faults && self.chance.one_in(8) {
                    return self.fail(line, message);
                }
                let known = self.bus(line).inbox.contains(&message.event);
                if known && !self.db.is(Bug::NoInbox) {
                    return again(3);
                }
                if !self.db.is(Bug::WriteBeforeDedup) {
                    self.bus(line).inbox.push(message.event);
                }
                if !self.db.is(Bug::DedupBeforeWrite) {
                    self.effect(line, message.payload);
                }
                again(2)
            }
            2 => {
                if self.db.is(Bug::WriteBeforeDedup) {
                    self.bus(line).inbox.push(message.event);
                }
                if self.db.is(Bug::DedupBeforeWrite) {
                    self.effect(line, message.payload);
                }
                again(3)
            }
            _ => {
                self.bus(line).acknowledge(message);
                Next::Done
            }
        }
    }

    /// The database did not answer: the message comes again.
    fn fail(&mut self, line: Line, message: Message) -> Next {
        let forgotten = self.db.is(Bug::FailedEventDropped);
        let bus = self.bus(line);
        let in_hand = bus.unacknowledged.contains(&message);
        bus.acknowledge(message);
        if in_hand && !forgotten {
            bus.queue.push(message);
        }
        Next::Done
    }

    fn effect(&mut self, line: Line, payload: usize) {
        match line {
            Line::Paid => self.told[payload] += 1,
            Line::Usage => {
                let Served { lease, cost, .. } = self.served[payload];
                // Refused for good: seen as a call without a bill.
                let _ = self.db.settle(payload, lease, cost);
            }
        }
    }
}
