/// A payment as the provider keeps it: the oracle of what was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Payment {
    pub order: usize,
    /// 0 or 1: two ways to pay.
    pub channel: usize,
    pub amount: i64,
    pub refunds: u32,
}

/// What somebody says about a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// The payment's number at the provider.
    pub payment: usize,
    pub order: usize,
    pub amount: i64,
    /// The provider's signature.
    pub signed: bool,
    /// It names us as the merchant.
    pub ours: bool,
}

/// The payment provider.
#[derive(Default)]
pub(super) struct Provider {
    pub payments: Vec<Payment>,
    /// Orders whose first channel was closed.
    pub closed: Vec<usize>,
    /// Notices on their way, some more than once, in no order.
    pub notices: Vec<Notice>,
    /// Numbers of refunds that were made.
    pub refund_numbers: Vec<usize>,
}

impl Provider {
    /// Somebody pays; `None`: this channel is closed or was paid before.
    pub(super) fn pay(&mut self, order: usize, channel: usize, amount: i64) -> Option<Notice> {
        let closed = channel == 0 && self.closed.contains(&order);
        let paid = |p: &Payment| p.order == order && p.channel == channel;
        if closed || self.payments.iter().any(paid) {
            return None;
        }
        self.payments.push(Payment {
            order,
            channel,
            amount,
            refunds: 0,
        });
        Some(self.notice(self.payments.len() - 1))
    }

    /// What the provider says about a payment when it is asked.
    pub(super) fn notice(&self, payment: usize) -> Notice {
        let paid = self.payments[payment];
        Notice {
            payment,
            order: paid.order,
            amount: paid.amount,
            signed: true,
            ours: true,
        }
    }

    pub(super) fn payments_of(&self, order: usize) -> impl Iterator<Item = usize> {
        let payments = self.payments.iter().enumerate();
        payments.filter_map(move |(number, paid)| (paid.order == order).then_some(number))
    }

    /// Refunds a payment under a number; the same number again changes nothing.
    pub(super) fn refund(&mut self, payment: usize, number: usize) {
        if !self.refund_numbers.contains(&number) {
            self.refund_numbers.push(number);
            self.payments[payment].refunds += 1;
        }
    }
}
