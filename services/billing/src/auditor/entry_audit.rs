//! Walks every account's chain.

use futures::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;

use super::report::{Report, Wrong};
use crate::{
    domain::chain::{self, Hash, Link},
    store::chain::{Line, lines, unbalanced_transfers, wrong_calls},
};

/// Rows of one kind that are listed.
const MOST: i64 = 100;

/// What is known of the account that is being walked.
struct Walk {
    account: Line,
    sum: i128,
    position: i64,
    hash: Hash,
    /// One wrong row an account: those after it follow from it.
    broken: bool,
}

/// Checks every account and entry, then transfers and calls.
pub(super) async fn run(tx: &mut PgConnection, report: &mut Report) -> sqlx::Result<()> {
    let mut walk: Option<Walk> = None;
    let mut lines = lines(tx);
    while let Some(line) = lines.try_next().await? {
        let same = |walk: &Walk| walk.account.ledger_account_id == line.ledger_account_id;
        if !walk.as_ref().is_some_and(same)
            && let Some(done) = walk.replace(Walk::begin(line.clone()))
        {
            done.end(report);
        }
        if let Some(walk) = &mut walk {
            walk.step(line, report);
        }
    }
    drop(lines);
    if let Some(done) = walk {
        done.end(report);
    }
    if report.sum != 0 {
        report.add(Wrong::Sum(report.sum));
    }
    for id in unbalanced_transfers(tx, MOST).await? {
        report.add(Wrong::Transfer(id));
    }
    for id in wrong_calls(tx, MOST).await? {
        report.add(Wrong::Call(id));
    }
    Ok(())
}

impl Walk {
    fn begin(account: Line) -> Self {
        let hash = chain::beginning(&account.account_kind, account.account_id);
        Self {
            account,
            sum: 0,
            position: 0,
            hash,
            broken: false,
        }
    }

    fn step(&mut self, line: Line, report: &mut Report) {
        let (Some(transfer_id), Some(amount)) = (line.transfer_id, line.amount_nanos) else {
            return;
        };
        report.entries += 1;
        self.sum += i128::from(amount);
        if self.account.head_position.is_none() && line.chain_position.is_none() {
            report.unsealed += 1;
            return;
        }
        if self.broken {
            return;
        }
        if let Err(what) = self.follow(&line, transfer_id, amount) {
            self.broken = true;
            report.add(Wrong::Entry {
                ledger_account_id: line.ledger_account_id,
                transfer_id,
                what,
            });
        }
    }

    fn follow(
        &mut self,
        line: &Line,
        transfer_id: Uuid,
        amount_nanos: i64,
    ) -> Result<(), &'static str> {
        let position = line.chain_position.ok_or("it is not in the chain")?;
        if position != self.position + 1 {
            return Err("an entry before it is missing");
        }
        let transfer = line.kind.clone().zip(line.cause_id).zip(line.booked_at);
        let ((kind, cause_id), booked_at) = transfer.ok_or("its transfer is gone")?;
        let link = Link {
            ledger_account_id: line.ledger_account_id,
            position,
            transfer_id,
            kind,
            cause_id,
            booked_at,
            amount_nanos,
        };
        let hash = chain::next(&self.hash, &link);
        if line.chain_hash.as_deref() != Some(&hash) {
            return Err("it is not what was booked: its hash differs");
        }
        (self.position, self.hash) = (position, hash);
        Ok(())
    }

    fn end(self, report: &mut Report) {
        report.accounts += 1;
        report.sum += self.sum;
        let ledger_account_id = self.account.ledger_account_id;
        let balance = self.account.balance_nanos;
        if i128::from(balance) != self.sum {
            let what = format!("its balance is {balance}, its entries sum to {}", self.sum);
            report.add(Wrong::Account {
                ledger_account_id,
                what,
            });
        }
        let Some(head) = self.account.head_position else {
            return;
        };
        let ends_here =
            head == self.position && self.account.head_hash.as_deref() == Some(&self.hash);
        if !self.broken && !ends_here {
            let reached = self.position;
            let what = format!("its chain should end at {head} and ends at {reached}");
            report.add(Wrong::Account {
                ledger_account_id,
                what,
            });
        }
    }
}
