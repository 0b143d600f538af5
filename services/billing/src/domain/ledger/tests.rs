use proptest::prelude::*;
use wanwu_ids::Ids;

use super::*;
use crate::domain::package_booking;

/// What a customer has, counted in the plainest way: the oracle.
#[derive(Clone, Copy, Default)]
struct Customer {
    paid: i64,
    available: i64,
    leased: i64,
    spent: i64,
    due: i64,
    refunded: i64,
    package: i64,
    given: i64,
    expired: i64,
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
            Kind::PackageSale => {
                self.paid += nanos;
                self.package += nanos;
                return true;
            }
            Kind::PackageDiscount => {
                self.given += nanos;
                self.package += nanos;
                return true;
            }
            Kind::PackageLease => (&mut self.package, &mut self.leased),
            Kind::PackageReturn => (&mut self.leased, &mut self.package),
            Kind::PackageExpiry => (&mut self.package, &mut self.expired),
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
        Kind::PackageSale => package_booking::sale(LedgerAccount::CashWechat, customer, nanos),
        Kind::PackageDiscount => package_booking::discount(customer, nanos),
        Kind::PackageLease => package_booking::lend(customer, nanos),
        Kind::PackageReturn => package_booking::give_back(customer, nanos),
        Kind::PackageExpiry => package_booking::expire(customer, nanos),
        bank => unreachable!("{bank:?} is not among the moves"),
    }
}

const KINDS: [Kind; 13] = [
    Kind::TopUp,
    Kind::Lease,
    Kind::Usage,
    Kind::LeaseReturn,
    Kind::Surplus,
    Kind::RefundOfCredit,
    Kind::RefundOfUsage,
    Kind::Refund,
    Kind::PackageSale,
    Kind::PackageDiscount,
    Kind::PackageLease,
    Kind::PackageReturn,
    Kind::PackageExpiry,
];

proptest! {
    #[test]
    fn the_accounts_hold_what_an_oracle_counts(
        moves in prop::collection::vec((0_usize..13, 0_usize..3, 1_i64..1_000_000), 0..200),
    ) {
        let ids = Ids::system();
        let names: [AccountId; 3] = [ids.id(), ids.id(), ids.id()];
        let mut oracle = [Customer::default(); 3];
        let mut balances = BTreeMap::<LedgerAccount, i64>::new();
        for (kind, customer, nanos) in moves {
            let movement = movement(KINDS[kind], names[customer], nanos);
            let holds = balances.get(&movement.from).copied().unwrap_or_default();
            // As the table's check: nobody spends what they do not hold.
            let there = movement.from.account_id().is_none()
                || matches!(movement.from, LedgerAccount::Discount(_))
                || holds >= nanos;
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
            prop_assert_eq!(holds(LedgerAccount::Package(name)), customer.package);
            prop_assert_eq!(holds(LedgerAccount::Discount(name)), -customer.given);
            prop_assert_eq!(holds(LedgerAccount::Expired(name)), customer.expired);
        }
        let paid: i64 = oracle.iter().map(|it| it.paid - it.refunded).sum();
        let cash = holds(LedgerAccount::CashWechat) + holds(LedgerAccount::CashAlipay);
        prop_assert_eq!(cash, -paid);
    }

    #[test]
    fn what_is_booked_together_locks_in_one_order_and_sums_to_zero(
        moves in prop::collection::vec((0_usize..13, 1_i64..1_000_000), 1..6),
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
