//! How money at the bank moves in the ledger.

use wanwu_ids::AccountId;

use super::ledger::{Kind, LedgerAccount, Movement};

/// Money came, for whomever; the cause is the line.
#[must_use]
pub const fn receipt(nanos: i64) -> Movement {
    Movement {
        kind: Kind::BankReceipt,
        from: LedgerAccount::CashBank,
        to: LedgerAccount::BankUnmatched,
        nanos,
    }
}

/// It is a customer's; the cause is the match.
#[must_use]
pub const fn credit(account_id: AccountId, nanos: i64) -> Movement {
    Movement {
        kind: Kind::BankCredit,
        from: LedgerAccount::BankUnmatched,
        to: LedgerAccount::Available(account_id),
        nanos,
    }
}

/// The bank takes money back that a customer still has, and for the rest the customer owes us; the
/// cause is the match that takes back.
#[must_use]
pub fn recall(account_id: AccountId, nanos: i64, available: i64) -> [Movement; 2] {
    // What they owe is below zero: there is nothing to take.
    let there = nanos.min(available.max(0));
    let movement = |kind, from, nanos| Movement {
        kind,
        from,
        to: LedgerAccount::BankUnmatched,
        nanos,
    };
    [
        movement(
            Kind::BankRecall,
            LedgerAccount::Available(account_id),
            there,
        ),
        movement(
            Kind::BankDebt,
            LedgerAccount::BankOwed(account_id),
            nanos - there,
        ),
    ]
}

/// The bank took money back; the cause is its line.
#[must_use]
pub const fn give_back(nanos: i64) -> Movement {
    Movement {
        kind: Kind::BankReturn,
        from: LedgerAccount::BankUnmatched,
        to: LedgerAccount::CashBank,
        nanos,
    }
}

#[cfg(test)]
mod tests {
    use wanwu_ids::Ids;

    use super::*;

    #[test]
    fn what_the_bank_takes_back_is_taken_from_what_is_there_and_owed_for_the_rest() {
        let account: AccountId = Ids::system().id();
        for (available, expected) in [(9, [5, 0]), (3, [3, 2]), (0, [0, 5]), (-3, [0, 5])] {
            let parts = recall(account, 5, available).map(|movement| movement.nanos);
            assert_eq!(parts, expected, "{available}");
        }
    }
}
