//! An outbox, its relay, a queue of the broker, and an inbox at the other end.

/// A row of the outbox.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Given when the transaction began, so that rows commit in another order.
    pub id: usize,
    pub payload: usize,
    pub published: bool,
}

/// A message: the row that it tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub event: usize,
    pub payload: usize,
}

/// Events from one service to another.
#[derive(Default)]
pub(super) struct Bus {
    /// Rows that are committed.
    pub rows: Vec<Row>,
    /// Ids that were given away.
    ids: usize,
    /// The highest id that was sent; only [`Bug::RelayById`](super::Bug) looks at it.
    pub sent_up_to: Option<usize>,
    /// No queue takes messages: they come back to who publishes.
    pub unbound: bool,
    pub queue: Vec<Message>,
    /// Delivered, not acknowledged.
    pub unacknowledged: Vec<Message>,
    /// Events that are applied.
    pub inbox: Vec<usize>,
}

impl Bus {
    pub(super) fn take_id(&mut self) -> usize {
        self.ids += 1;
        self.ids - 1
    }

    pub(super) fn commit(&mut self, id: usize, payload: usize) {
        self.rows.push(Row {
            id,
            payload,
            published: false,
        });
    }

    pub(super) fn pending(&self, by_id: bool) -> Vec<Row> {
        let due = |row: &&Row| match (by_id, self.sent_up_to) {
            (true, Some(sent)) => row.id > sent,
            (true, None) => true,
            (false, _) => !row.published,
        };
        self.rows.iter().filter(due).copied().collect()
    }

    pub(super) fn mark(&mut self, id: usize) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.id == id) {
            row.published = true;
        }
        self.sent_up_to = self.sent_up_to.max(Some(id));
    }

    pub(super) fn acknowledge(&mut self, message: Message) {
        if let Some(at) = self.unacknowledged.iter().position(|m| *m == message) {
            self.unacknowledged.swap_remove(at);
        }
    }

    /// The consumer or its connection is gone: what it had in hand comes again.
    pub(super) fn disconnect(&mut self) {
        self.queue.append(&mut self.unacknowledged);
    }
}
