use uuid::Uuid;

/// More than so many wrong rows are not listed.
const MOST: usize = 100;

/// What an audit read and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Accounts that were read.
    pub accounts: u64,
    /// Entries that were read.
    pub entries: u64,
    /// Of these, entries from before the chain that are not sealed yet.
    pub unsealed: u64,
    /// Checkpoints that were read.
    pub checkpoints: u64,
    /// The sum of all entries, in 10^-9 CNY.
    pub sum: i128,
    /// What is wrong, at most 100; the first row of each account.
    pub wrong: Vec<Wrong>,
}

/// A row that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// An entry is not what was booked.
    #[error("entry of transfer {transfer_id} on ledger account {ledger_account_id}: {what}")]
    Entry {
        /// The account's number in the ledger.
        ledger_account_id: i64,
        /// The entry's transfer.
        transfer_id: Uuid,
        /// In words.
        what: &'static str,
    },
    /// An account's balance or end of chain is not what its entries say.
    #[error("ledger account {ledger_account_id}: {what}")]
    Account {
        /// The account's number in the ledger.
        ledger_account_id: i64,
        /// In words.
        what: String,
    },
    /// A transfer has not two or more entries that sum to zero.
    #[error("transfer {0}: its entries do not sum to zero")]
    Transfer(Uuid),
    /// A call's bill is not what was booked for it.
    #[error("call {0}: its bill is not what the ledger booked")]
    Call(Uuid),
    /// A checkpoint does not hold.
    #[error("checkpoint {number}: {what}")]
    Checkpoint {
        /// Its number.
        number: i64,
        /// In words.
        what: String,
    },
    /// All entries together are not zero.
    #[error("all entries sum to {0}")]
    Sum(i128),
}

impl Report {
    pub(super) fn add(&mut self, wrong: Wrong) {
        if self.wrong.len() < MOST {
            self.wrong.push(wrong);
        }
    }
}
