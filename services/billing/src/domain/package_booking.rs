//! How packages move: what is sold or given, lent, given back, what ends unused, and what is refunded.

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

/// A package that was bought, in 10^-9 CNY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bought {
    /// What was paid for it; above zero.
    pub price: i64,
    /// What it was worth; at least its price.
    pub credit: i64,
    /// What is free of it.
    pub left: i64,
}

/// Where what is given back of a package comes from, in 10^-9 CNY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenBack {
    /// What was paid for and is left.
    pub paid: i64,
    /// What was given with it for nothing: it is no more.
    pub discount: i64,
    /// What is not left of it: it was spent, or ended unused.
    pub used: i64,
}

impl Bought {
    /// What was paid for what is left, rounded down.
    #[must_use]
    pub const fn unspent(self) -> i64 {
        part(self.left, self.price, self.credit)
    }

    /// Who gets back a part of the price loses as large a part of the credit, as far as it is left.
    #[must_use]
    pub fn take_back(self, nanos: i64) -> TakenBack {
        let share = part(nanos, self.credit, self.price);
        let taken = share.min(self.left);
        let paid = match taken == share {
            true => nanos,
            false => part(taken, self.price, self.credit),
        };
        TakenBack {
            paid,
            discount: taken - paid,
            used: nanos - paid,
        }
    }
}

/// `of x numerator / denominator`, rounded down.
const fn part(of: i64, numerator: i64, denominator: i64) -> i64 {
    // A package is worth less than 2^63.
    (of as i128 * numerator as i128 / denominator as i128) as i64
}

/// Sets aside what is given back of a package, `earned` of what is not left having been spent and the
/// rest having ended unused.
#[must_use]
pub fn refund(account_id: AccountId, taken: TakenBack, earned: i64) -> [Movement; 4] {
    let package = LedgerAccount::Package(account_id);
    let due = LedgerAccount::RefundDue(account_id);
    let spent = taken.used.min(earned);
    [
        movement(Kind::RefundOfPackage, package, due, taken.paid),
        movement(
            Kind::PackageDiscountEnd,
            package,
            LedgerAccount::Discount(account_id),
            taken.discount,
        ),
        movement(
            Kind::RefundOfUsage,
            LedgerAccount::Revenue(account_id),
            due,
            spent,
        ),
        movement(
            Kind::RefundOfExpiry,
            LedgerAccount::Expired(account_id),
            due,
            taken.used - spent,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_of_the_price_is_as_large_a_part_of_the_credit() {
        let bought = |left| Bought {
            price: 100,
            credit: 150,
            left,
        };
        for (left, nanos, paid, discount, used) in [
            (150, 100, 100, 50, 0),
            (150, 40, 40, 20, 0),
            (75, 100, 50, 25, 50),
            (0, 100, 0, 0, 100),
        ] {
            let taken = TakenBack {
                paid,
                discount,
                used,
            };
            assert_eq!(bought(left).take_back(nanos), taken);
        }
        assert_eq!(bought(75).unspent(), 50);
    }

    proptest! {
        #[test]
        fn never_more_is_taken_than_is_left_and_never_more_discount_than_was_given(
            price in 1_i64..1_000_000,
            more in 0_i64..1_000_000,
            used in 0_i64..2_000_000,
            refunds in prop::collection::vec(1_i64..1_000_000, 1..6),
        ) {
            let credit = price + more;
            let mut bought = Bought { price, credit, left: (credit - used).max(0) };
            let (mut back, mut discount) = (0, 0);
            for nanos in refunds {
                let nanos = nanos.min(price - back);
                let taken = bought.take_back(nanos);
                prop_assert!(taken.paid >= 0 && taken.discount >= 0 && taken.used >= 0);
                prop_assert_eq!(taken.paid + taken.used, nanos);
                if used == 0 {
                    prop_assert_eq!(taken.used, 0, "nothing was used");
                }
                bought.left -= taken.paid + taken.discount;
                back += nanos;
                discount += taken.discount;
                prop_assert!(bought.left >= 0 && discount <= more);
            }
        }
    }
}
