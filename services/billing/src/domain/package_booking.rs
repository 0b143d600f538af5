//! How packages move: what is sold or given, lent, given back, and what ends unused.

use wanwu_ids::AccountId;

use super::ledger::{Kind, LedgerAccount, Movement};

const fn movement(kind: Kind, from: LedgerAccount, to: LedgerAccount, nanos: i64) -> Movement {
    Movement {
        kind,
        from,
        to,
        nanos,
    }
}

/// An order of a package was paid into `cash`.
#[must_use]
pub const fn sale(cash: LedgerAccount, account_id: AccountId, nanos: i64) -> Movement {
    let package = LedgerAccount::Package(account_id);
    movement(Kind::PackageSale, cash, package, nanos)
}

/// A package is worth so much more than was paid.
#[must_use]
pub const fn discount(account_id: AccountId, nanos: i64) -> Movement {
    let discount = LedgerAccount::Discount(account_id);
    let package = LedgerAccount::Package(account_id);
    movement(Kind::PackageDiscount, discount, package, nanos)
}

/// Credit of a package is lent.
#[must_use]
pub const fn lend(account_id: AccountId, nanos: i64) -> Movement {
    let package = LedgerAccount::Package(account_id);
    let leased = LedgerAccount::Leased(account_id);
    movement(Kind::PackageLease, package, leased, nanos)
}

/// What was not spent of it comes back.
#[must_use]
pub const fn give_back(account_id: AccountId, nanos: i64) -> Movement {
    let leased = LedgerAccount::Leased(account_id);
    let package = LedgerAccount::Package(account_id);
    movement(Kind::PackageReturn, leased, package, nanos)
}

/// What is left of a package that is over.
#[must_use]
pub const fn expire(account_id: AccountId, nanos: i64) -> Movement {
    let package = LedgerAccount::Package(account_id);
    let expired = LedgerAccount::Expired(account_id);
    movement(Kind::PackageExpiry, package, expired, nanos)
}
