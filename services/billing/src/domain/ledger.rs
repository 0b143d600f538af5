use wanwu_ids::AccountId;

/// An account of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LedgerAccount {
    /// What a customer can spend or lend out; we owe it.
    Available(AccountId),
    /// What is lent to router replicas on a customer's behalf; we owe it.
    Leased(AccountId),
    /// What a customer's calls have earned us. One a customer, so that customers do not wait for
    /// each other's lock.
    Revenue(AccountId),
    /// What WeChat Pay holds for us: negative.
    CashWechat,
}

impl LedgerAccount {
    /// As stored.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Available(_) => "available",
            Self::Leased(_) => "leased",
            Self::Revenue(_) => "revenue",
            Self::CashWechat => "cash_wechat",
        }
    }

    /// The customer, if it is a customer's.
    #[must_use]
    pub const fn account_id(self) -> Option<AccountId> {
        match self {
            Self::Available(id) | Self::Leased(id) | Self::Revenue(id) => Some(id),
            Self::CashWechat => None,
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
    /// A lease is freed; the cause is the lease.
    LeaseReturn,
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
    /// An order of a customer was paid by WeChat.
    #[must_use]
    pub const fn top_up(account_id: AccountId, nanos: i64) -> Self {
        let (from, to) = (
            LedgerAccount::CashWechat,
            LedgerAccount::Available(account_id),
        );
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

    /// Its two entries, in the order in which the accounts are locked: always the same, so that two
    /// movements never wait for each other.
    #[must_use]
    pub fn entries(self) -> [(LedgerAccount, i64); 2] {
        let mut entries = [(self.from, -self.nanos), (self.to, self.nanos)];
        entries.sort_by_key(|(account, _)| *account);
        entries
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use wanwu_ids::Ids;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_moved_the_ledger_sums_to_zero(
            moves in prop::collection::vec((0_u8..4, 0_usize..3, 1_i64..1_000_000), 0..200),
        ) {
            let ids = Ids::system();
            let customers: [AccountId; 3] = [ids.id(), ids.id(), ids.id()];
            let mut balances = BTreeMap::<LedgerAccount, i64>::new();
            for (kind, customer, nanos) in moves {
                let customer = customers[customer];
                let movement = match kind {
                    0 => Movement::top_up(customer, nanos),
                    1 => Movement::lease(customer, nanos),
                    2 => Movement::usage(customer, nanos),
                    _ => Movement::lease_return(customer, nanos),
                };
                // As the table's check would: nobody spends what they do not hold.
                let holds = balances.get(&movement.from).copied().unwrap_or_default();
                if movement.from != LedgerAccount::CashWechat && holds < nanos {
                    continue;
                }
                for (account, amount) in movement.entries() {
                    *balances.entry(account).or_default() += amount;
                }
                prop_assert_eq!(balances.values().sum::<i64>(), 0);
            }
            for (account, balance) in balances {
                prop_assert!(account == LedgerAccount::CashWechat || balance >= 0);
            }
        }
    }
}
