//! Double entry, without a database: accounts, and movements between them.
//!
//! **Invariant**: the entries of a movement sum to zero, so the entries of the ledger do.
//! **Invariant**: accounts are locked in the order of [`LedgerAccount`], by everyone.

use std::collections::BTreeMap;

use wanwu_ids::AccountId;

use super::payment::Provider;

/// An account of the ledger. Their order here is the order in which they are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LedgerAccount {
    /// What a customer can spend or lend out; we owe it.
    Available(AccountId),
    /// What is lent to router replicas on a customer's behalf; we owe it.
    Leased(AccountId),
    /// What a customer's calls have earned us. One a customer, so that customers do not wait for
    /// each other's lock.
    Revenue(AccountId),
    /// What a customer gets back and has not yet; we owe it.
    RefundDue(AccountId),
    /// What a customer owes us because the bank took back what was spent already: negative.
    BankOwed(AccountId),
    /// What WeChat Pay holds for us: negative.
    CashWechat,
    /// What Alipay holds for us: negative.
    CashAlipay,
    /// What our bank holds for us: negative.
    CashBank,
    /// What came to our bank and is nobody's yet; we owe it.
    BankUnmatched,
}

impl From<Provider> for LedgerAccount {
    fn from(provider: Provider) -> Self {
        match provider {
            Provider::Wechat => Self::CashWechat,
            Provider::Alipay => Self::CashAlipay,
        }
    }
}

impl LedgerAccount {
    /// As stored.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Available(_) => "available",
            Self::Leased(_) => "leased",
            Self::Revenue(_) => "revenue",
            Self::RefundDue(_) => "refund_due",
            Self::CashWechat => "cash_wechat",
            Self::CashAlipay => "cash_alipay",
            Self::BankOwed(_) => "bank_owed",
            Self::BankUnmatched => "bank_unmatched",
            Self::CashBank => "cash_bank",
        }
    }

    /// The customer, if it is a customer's.
    #[must_use]
    pub const fn account_id(self) -> Option<AccountId> {
        match self {
            Self::Available(id)
            | Self::Leased(id)
            | Self::Revenue(id)
            | Self::RefundDue(id)
            | Self::BankOwed(id) => Some(id),
            Self::CashWechat | Self::CashAlipay | Self::CashBank | Self::BankUnmatched => None,
        }
    }
}

/// Why money moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An order was paid; the cause is the order.
    TopUp,
    /// Credit is lent to a replica; the cause is the lease.
    Lease,
    /// A call is settled; the cause is the call.
    Usage,
    /// A lease is freed, the cause is the lease; or a part of it, the cause is this part.
    LeaseReturn,
    /// A payment came that is not credited; the cause is its refund.
    Surplus,
    /// What a customer has left is set aside to be given back; the cause is the refund.
    RefundOfCredit,
    /// What a customer spent is set aside to be given back; the cause is the refund.
    RefundOfUsage,
    /// The provider gave it back; the cause is the refund.
    Refund,
    /// Money came to our bank; the cause is the statement's line.
    BankReceipt,
    /// It is a customer's; the cause is the match.
    BankCredit,
    /// The bank took money back; the cause is the statement's line.
    BankReturn,
    /// A customer gives back what the bank took back; the cause is the match that takes back.
    BankRecall,
    /// A customer owes what the bank took back; the cause is the match that takes back.
    BankDebt,
}

impl Kind {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TopUp => "top_up",
            Self::Lease => "lease",
            Self::Usage => "usage",
            Self::LeaseReturn => "lease_return",
            Self::Surplus => "surplus",
            Self::RefundOfCredit => "refund_of_credit",
            Self::RefundOfUsage => "refund_of_usage",
            Self::Refund => "refund",
            Self::BankReceipt => "bank_receipt",
            Self::BankCredit => "bank_credit",
            Self::BankReturn => "bank_return",
            Self::BankRecall => "bank_recall",
            Self::BankDebt => "bank_debt",
        }
    }
}

/// A movement between two accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Why.
    pub kind: Kind,
    /// Loses the amount.
    pub from: LedgerAccount,
    /// Gains it.
    pub to: LedgerAccount,
    /// Above zero, in 10^-9 CNY.
    pub nanos: i64,
}

impl Movement {
    /// An order of a customer was paid into `cash`.
    #[must_use]
    pub const fn top_up(cash: LedgerAccount, account_id: AccountId, nanos: i64) -> Self {
        let (from, to) = (cash, LedgerAccount::Available(account_id));
        Self {
            kind: Kind::TopUp,
            from,
            to,
            nanos,
        }
    }

    /// Credit is lent.
    #[must_use]
    pub const fn lease(account_id: AccountId, nanos: i64) -> Self {
        let (from, to) = (
            LedgerAccount::Available(account_id),
            LedgerAccount::Leased(account_id),
        );
        Self {
            kind: Kind::Lease,
            from,
            to,
            nanos,
        }
    }

    /// A call is settled.
    #[must_use]
    pub const fn usage(account_id: AccountId, nanos: i64) -> Self {
        let (from, to) = (
            LedgerAccount::Leased(account_id),
            LedgerAccount::Revenue(account_id),
        );
        Self {
            kind: Kind::Usage,
            from,
            to,
            nanos,
        }
    }

    /// What was not spent of a lease goes back.
    #[must_use]
    pub const fn lease_return(account_id: AccountId, nanos: i64) -> Self {
        let (from, to) = (
            LedgerAccount::Leased(account_id),
            LedgerAccount::Available(account_id),
        );
        Self {
            kind: Kind::LeaseReturn,
            from,
            to,
            nanos,
        }
    }

    /// A payment came into `cash` that goes back.
    #[must_use]
    pub const fn surplus(cash: LedgerAccount, account_id: AccountId, nanos: i64) -> Self {
        let (from, to) = (cash, LedgerAccount::RefundDue(account_id));
        Self {
            kind: Kind::Surplus,
            from,
            to,
            nanos,
        }
    }

    /// Sets aside what is given back: what the customer has left first, then what they spent.
    #[must_use]
    pub fn set_aside(account_id: AccountId, nanos: i64, available: i64) -> [Self; 2] {
        let credit = nanos.min(available.max(0));
        let movement = |kind, from, nanos| Self {
            kind,
            from,
            to: LedgerAccount::RefundDue(account_id),
            nanos,
        };
        [
            movement(
                Kind::RefundOfCredit,
                LedgerAccount::Available(account_id),
                credit,
            ),
            movement(
                Kind::RefundOfUsage,
                LedgerAccount::Revenue(account_id),
                nanos - credit,
            ),
        ]
    }

    /// The provider gave back what was set aside.
    #[must_use]
    pub const fn refund(account_id: AccountId, cash: LedgerAccount, nanos: i64) -> Self {
        let (from, to) = (LedgerAccount::RefundDue(account_id), cash);
        Self {
            kind: Kind::Refund,
            from,
            to,
            nanos,
        }
    }

    /// Its two entries.
    #[must_use]
    pub const fn entries(self) -> [(LedgerAccount, i64); 2] {
        [(self.from, -self.nanos), (self.to, self.nanos)]
    }
}

/// What movements that are booked together do to each account, in the order in which the accounts
/// are locked: always the same, so that no two transactions wait for each other in a circle.
#[must_use]
pub fn changes(movements: impl IntoIterator<Item = Movement>) -> BTreeMap<LedgerAccount, i64> {
    let mut changes = BTreeMap::new();
    for (account, nanos) in movements.into_iter().flat_map(Movement::entries) {
        *changes.entry(account).or_default() += nanos;
    }
    changes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wanwu_ids::Ids;

    use super::*;

    /// What a customer has, counted in the plainest way: the oracle.
    #[derive(Clone, Copy, Default)]
    struct Customer {
        paid: i64,
        available: i64,
        leased: i64,
        spent: i64,
        due: i64,
        refunded: i64,
    }

    impl Customer {
        /// Moves, or does not because it is not there.
        fn step(&mut self, kind: Kind, nanos: i64) -> bool {
            let (from, to) = match kind {
                Kind::TopUp => {
                    self.paid += nanos;
                    self.available += nanos;
                    return true;
                }
                Kind::Surplus => {
                    self.paid += nanos;
                    self.due += nanos;
                    return true;
                }
                Kind::Lease => (&mut self.available, &mut self.leased),
                Kind::Usage => (&mut self.leased, &mut self.spent),
                Kind::LeaseReturn => (&mut self.leased, &mut self.available),
                Kind::RefundOfCredit => (&mut self.available, &mut self.due),
                Kind::RefundOfUsage => (&mut self.spent, &mut self.due),
                Kind::Refund => (&mut self.due, &mut self.refunded),
                bank => unreachable!("{bank:?} is not among the moves"),
            };
            let there = *from >= nanos;
            if there {
                *from -= nanos;
                *to += nanos;
            }
            there
        }
    }

    fn movement(kind: Kind, customer: AccountId, nanos: i64) -> Movement {
        match kind {
            Kind::TopUp => Movement::top_up(LedgerAccount::CashWechat, customer, nanos),
            Kind::Lease => Movement::lease(customer, nanos),
            Kind::Usage => Movement::usage(customer, nanos),
            Kind::LeaseReturn => Movement::lease_return(customer, nanos),
            Kind::Surplus => Movement::surplus(LedgerAccount::CashAlipay, customer, nanos),
            Kind::RefundOfCredit => Movement::set_aside(customer, nanos, nanos)[0],
            Kind::RefundOfUsage => Movement::set_aside(customer, nanos, 0)[1],
            Kind::Refund => Movement::refund(customer, LedgerAccount::CashAlipay, nanos),
            bank => unreachable!("{bank:?} is not among the moves"),
        }
    }

    const KINDS: [Kind; 8] = [
        Kind::TopUp,
        Kind::Lease,
        Kind::Usage,
        Kind::LeaseReturn,
        Kind::Surplus,
        Kind::RefundOfCredit,
        Kind::RefundOfUsage,
        Kind::Refund,
    ];

    proptest! {
        #[test]
        fn the_accounts_hold_what_an_oracle_counts(
            moves in prop::collection::vec((0_usize..8, 0_usize..3, 1_i64..1_000_000), 0..200),
        ) {
            let ids = Ids::system();
            let names: [AccountId; 3] = [ids.id(), ids.id(), ids.id()];
            let mut oracle = [Customer::default(); 3];
            let mut balances = BTreeMap::<LedgerAccount, i64>::new();
            for (kind, customer, nanos) in moves {
                let movement = movement(KINDS[kind], names[customer], nanos);
                let holds = balances.get(&movement.from).copied().unwrap_or_default();
                // As the table's check: nobody spends what they do not hold.
                let there = movement.from.account_id().is_none() || holds >= nanos;
                prop_assert_eq!(oracle[customer].step(KINDS[kind], nanos), there);
                if there {
                    for (account, change) in changes([movement]) {
                        *balances.entry(account).or_default() += change;
                    }
                }
                prop_assert_eq!(balances.values().sum::<i64>(), 0);
            }
            let holds = |account| balances.get(&account).copied().unwrap_or_default();
            for (name, customer) in names.into_iter().zip(oracle) {
                prop_assert_eq!(holds(LedgerAccount::Available(name)), customer.available);
                prop_assert_eq!(holds(LedgerAccount::Leased(name)), customer.leased);
                prop_assert_eq!(holds(LedgerAccount::Revenue(name)), customer.spent);
                prop_assert_eq!(holds(LedgerAccount::RefundDue(name)), customer.due);
            }
            let paid: i64 = oracle.iter().map(|it| it.paid - it.refunded).sum();
            let cash = holds(LedgerAccount::CashWechat) + holds(LedgerAccount::CashAlipay);
            prop_assert_eq!(cash, -paid);
        }

        #[test]
        fn what_is_booked_together_locks_in_one_order_and_sums_to_zero(
            moves in prop::collection::vec((0_usize..8, 1_i64..1_000_000), 1..6),
        ) {
            let customer: AccountId = Ids::system().id();
            let together = moves.iter().map(|(kind, n)| movement(KINDS[*kind], customer, *n));
            let changes = changes(together);
            prop_assert!(changes.keys().is_sorted());
            prop_assert_eq!(changes.values().sum::<i64>(), 0);
        }
    }

    #[test]
    fn what_is_given_back_comes_from_the_credit_first_and_then_from_what_was_spent() {
        let customer: AccountId = Ids::system().id();
        for (nanos, available, parts) in [
            (100, 300, [100, 0]),
            (100, 100, [100, 0]),
            (100, 30, [30, 70]),
            (100, 0, [0, 100]),
            (100, -5, [0, 100]),
        ] {
            let moved = Movement::set_aside(customer, nanos, available);
            assert_eq!(moved.map(|movement| movement.nanos), parts);
        }
    }
}
