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
    /// What a customer can spend or lend out; we owe it. Below zero: an enterprise owes us.
    Available(AccountId),
    /// What a customer has in packages; we owe it.
    Package(AccountId),
    /// What is lent to router replicas on a customer's behalf; we owe it.
    Leased(AccountId),
    /// What a customer paid for and did not get yet; we owe it.
    Held(AccountId),
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
    /// What a customer has got for nothing in packages: negative.
    Discount(AccountId),
    /// What ended unused of a customer's packages.
    Expired(AccountId),
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
            Self::Package(_) => "package",
            Self::Leased(_) => "leased",
            Self::Held(_) => "held",
            Self::Revenue(_) => "revenue",
            Self::RefundDue(_) => "refund_due",
            Self::CashWechat => "cash_wechat",
            Self::CashAlipay => "cash_alipay",
            Self::BankOwed(_) => "bank_owed",
            Self::BankUnmatched => "bank_unmatched",
            Self::CashBank => "cash_bank",
            Self::Discount(_) => "discount",
            Self::Expired(_) => "expired",
        }
    }

    /// The customer, if it is a customer's.
    #[must_use]
    pub const fn account_id(self) -> Option<AccountId> {
        match self {
            Self::Available(id)
            | Self::Package(id)
            | Self::Leased(id)
            | Self::Held(id)
            | Self::Revenue(id)
            | Self::RefundDue(id)
            | Self::BankOwed(id)
            | Self::Discount(id)
            | Self::Expired(id) => Some(id),
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
    /// An order of a product was paid; the cause is the order.
    Sale,
    /// It was provided; the cause is the order.
    Fulfilment,
    /// What was paid for a product is set aside to be given back; the cause is the refund.
    RefundOfSale,
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
    /// An order of a package was paid; the cause is the package.
    PackageSale,
    /// What a package is worth more than was paid; the cause is the package.
    PackageDiscount,
    /// Credit of a package is lent; the cause is the lease's part.
    PackageLease,
    /// What was not spent of it comes back; the cause is the lease's part.
    PackageReturn,
    /// A package ended; the cause is the package, or the lease's part that came back later.
    PackageExpiry,
    /// What is left of a package is set aside to be given back; the cause is the refund.
    RefundOfPackage,
    /// What was given with that part for nothing is no more; the cause is the refund.
    PackageDiscountEnd,
    /// What ended unused is set aside to be given back; the cause is the refund.
    RefundOfExpiry,
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
            Self::Sale => "sale",
            Self::Fulfilment => "fulfilment",
            Self::RefundOfSale => "refund_of_sale",
            Self::Refund => "refund",
            Self::BankReceipt => "bank_receipt",
            Self::BankCredit => "bank_credit",
            Self::BankReturn => "bank_return",
            Self::BankRecall => "bank_recall",
            Self::BankDebt => "bank_debt",
            Self::PackageSale => "package_sale",
            Self::PackageDiscount => "package_discount",
            Self::PackageLease => "package_lease",
            Self::PackageReturn => "package_return",
            Self::PackageExpiry => "package_expiry",
            Self::RefundOfPackage => "refund_of_package",
            Self::PackageDiscountEnd => "package_discount_end",
            Self::RefundOfExpiry => "refund_of_expiry",
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

    /// An order of a product was paid into `cash`.
    #[must_use]
    pub const fn sale(cash: LedgerAccount, account_id: AccountId, nanos: i64) -> Self {
        let (from, to) = (cash, LedgerAccount::Held(account_id));
        Self {
            kind: Kind::Sale,
            from,
            to,
            nanos,
        }
    }

    /// A product was provided.
    #[must_use]
    pub const fn fulfilment(account_id: AccountId, nanos: i64) -> Self {
        let (from, to) = (
            LedgerAccount::Held(account_id),
            LedgerAccount::Revenue(account_id),
        );
        Self {
            kind: Kind::Fulfilment,
            from,
            to,
            nanos,
        }
    }

    /// Sets aside what is given back of a product: held as long as it is not provided.
    #[must_use]
    pub const fn set_aside_sale(account_id: AccountId, nanos: i64, provided: bool) -> Self {
        let (kind, from) = if provided {
            (Kind::RefundOfUsage, LedgerAccount::Revenue(account_id))
        } else {
            (Kind::RefundOfSale, LedgerAccount::Held(account_id))
        };
        Self {
            kind,
            from,
            to: LedgerAccount::RefundDue(account_id),
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
mod tests;
