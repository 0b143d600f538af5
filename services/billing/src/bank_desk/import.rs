use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::BankDesk;
use crate::{
    domain::{
        bank_booking,
        bank_matching::{self, Arrived, Waiting},
        bank_statement::{Direction, StatementLine},
        ledger::LedgerAccount,
        money::NANOS_PER_FEN,
    },
    error::Error,
    store::{
        bank_lines::{self, BankLine, Hashes, Match},
        bank_transfers::{self, BankTransfer, Candidate},
        ledger::{self, Posting},
    },
};

/// How long after an import its lines are looked at again.
const LEFT_BEHIND: TimeDelta = TimeDelta::hours(1);

/// What came of a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Lines that are new.
    pub new: i32,
    /// Lines that were there.
    pub known: i32,
    /// Lines that were credited now, at least in part.
    pub matched: i32,
    /// New lines that took an earlier one back.
    pub reversals: i32,
}

impl BankDesk {
    /// Takes a statement: every line or none. A line counts once by its serial number, and what the
    /// bank says under it may not change (obligation P2.1.1e.2). Our own payments are left out.
    /// Whose the lines are is found after that, one by one: no customer's credit is locked for longer
    /// than a line takes. What an end in the middle leaves, [`Self::match_waiting`] finds.
    pub async fn import(&self, lines: &[StatementLine]) -> Result<Imported, Error> {
        let mut imported = self.take_all(lines).await?;
        let serials: Vec<_> = lines.iter().map(|line| line.serial.clone()).collect();
        let mut connection = self.app.pool.acquire().await?;
        let waiting = bank_lines::waiting_of(&mut connection, &serials).await?;
        drop(connection);
        let accounts: HashMap<_, _> = lines
            .iter()
            .filter_map(|line| Some((line.serial.as_str(), line.account.as_ref()?)))
            .collect();
        for (line, serial) in waiting {
            let number = accounts.get(serial.as_str());
            let macs = number.map_or_else(Vec::new, |number| self.index.macs(number.expose()));
            imported.matched += i32::from(self.match_by_itself(line, &macs).await?);
        }
        Ok(imported)
    }

    async fn take_all(&self, lines: &[StatementLine]) -> Result<Imported, Error> {
        let now = self.app.now();
        let mut imported = Imported::default();
        let mut tx = self.app.pool.begin().await?;
        // A file of many lines takes longer than a request.
        sqlx::query("set local statement_timeout = '60s'")
            .execute(&mut *tx)
            .await?;
        bank_lines::take_turn(&mut tx).await?;
        let mut receipts = Vec::new();
        for line in lines {
            match &line.direction {
                Direction::In => {
                    let stored = self.stored(line, None);
                    if self.insert(&mut tx, line, &stored, &mut imported).await? {
                        receipts.push(Posting {
                            movement: bank_booking::receipt(line.fen * NANOS_PER_FEN),
                            cause_id: stored.bank_line_id,
                        });
                    }
                }
                Direction::Reversal(serial) => {
                    // It may take back what came before it in this file.
                    ledger::book(&mut tx, &self.app.ids, &receipts, now).await?;
                    receipts.clear();
                    self.take_back(&mut tx, line, serial, &mut imported).await?;
                }
                Direction::Out => {}
            }
        }
        ledger::book(&mut tx, &self.app.ids, &receipts, now).await?;
        wanwu_crash::point("bank_statement.before_commit");
        tx.commit().await?;
        wanwu_crash::point("bank_statement.committed");
        Ok(imported)
    }

    /// Finds whose lines are that a declaration waits for, and that their import did not get to.
    pub async fn match_waiting(&self) -> Result<(), Error> {
        let mut connection = self.app.pool.acquire().await?;
        let since = self.app.now() - LEFT_BEHIND;
        let waiting = bank_lines::waiting(&mut connection, since).await?;
        drop(connection);
        for (line, mac) in waiting {
            self.match_by_itself(line, &Vec::from_iter(mac)).await?;
        }
        Ok(())
    }

    /// Credits a line to the declaration that it pays, if that is clear; answers whether it is.
    async fn match_by_itself(&self, line: Uuid, macs: &[Vec<u8>]) -> Result<bool, Error> {
        let mut tx = self.app.pool.begin().await?;
        bank_lines::take_turn(&mut tx).await?;
        let Some(line) = bank_lines::lock_waiting(&mut tx, line).await? else {
            return Ok(false);
        };
        let reference = Some(line.reference.as_str()).filter(|reference| !reference.is_empty());
        let candidates = self.candidates(&mut tx, &line, macs).await?;
        let waiting: Vec<_> = candidates
            .iter()
            .map(|candidate| Waiting {
                reference: candidate.transfer.reference.clone(),
                same_account: candidate.same_account,
                outstanding_fen: candidate.transfer.amount_fen - candidate.transfer.credited_fen,
                transfer_at: candidate.transfer.transfer_at,
            })
            .collect();
        let arrived = Arrived {
            reference,
            fen: line.amount_fen,
            booked_at: line.booked_at,
        };
        let Some(place) = bank_matching::find(arrived, &waiting) else {
            return Ok(false);
        };
        // What is more than was declared stays nobody's until an operator looks.
        let fen = line.amount_fen.min(waiting[place].outstanding_fen);
        let transfer = &candidates[place].transfer;
        self.credit(&mut tx, &line, transfer, fen, None).await?;
        wanwu_crash::point("bank_match.before_commit");
        tx.commit().await?;
        wanwu_crash::point("bank_match.committed");
        self.app.freed.notify_waiters();
        Ok(true)
    }

    /// Who waits for a line: the one that its remark names; where there is none, those that declared
    /// its account before it came. Who declares later knows more than a customer should.
    async fn candidates(
        &self,
        tx: &mut PgConnection,
        line: &BankLine,
        macs: &[Vec<u8>],
    ) -> Result<Vec<Candidate>, Error> {
        let named = bank_transfers::waiting_by_reference(tx, &line.reference).await?;
        match named.is_empty() {
            false => Ok(named),
            true => Ok(bank_transfers::waiting_by_account(tx, macs, line.imported_at).await?),
        }
    }

    async fn take_back(
        &self,
        tx: &mut PgConnection,
        line: &StatementLine,
        serial: &str,
        imported: &mut Imported,
    ) -> Result<(), Error> {
        let now = self.app.now();
        let original = bank_lines::lock_serial(tx, serial).await?;
        let original = original
            .filter(|original| original.amount_fen == line.fen && original.reverses.is_none())
            .ok_or_else(|| Error::invalid("content", "reverses no line that was imported"))?;
        let stored = self.stored(line, Some(original.bank_line_id));
        if !self.insert(tx, line, &stored, imported).await? {
            return Ok(());
        }
        for made in bank_lines::matches_of(tx, original.bank_line_id).await? {
            self.recall(tx, &made, now).await?;
        }
        bank_lines::reverse(tx, original.bank_line_id, now).await?;
        let posting = Posting {
            movement: bank_booking::give_back(line.fen * NANOS_PER_FEN),
            cause_id: stored.bank_line_id,
        };
        ledger::book(tx, &self.app.ids, &[posting], now).await?;
        imported.reversals += 1;
        Ok(())
    }

    async fn recall(
        &self,
        tx: &mut PgConnection,
        made: &Match,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let account = LedgerAccount::Available(made.account_id);
        let available = ledger::lock_balance(tx, account).await?;
        let back = Match {
            bank_match_id: self.app.ids.id::<()>().uuid(),
            amount_fen: -made.amount_fen,
            ..*made
        };
        let nanos = made.amount_fen * NANOS_PER_FEN;
        let postings =
            bank_booking::recall(made.account_id, nanos, available).map(|movement| Posting {
                movement,
                cause_id: back.bank_match_id,
            });
        ledger::book(tx, &self.app.ids, &postings, now).await?;
        bank_transfers::add_credited(tx, made.bank_transfer_id, -made.amount_fen).await?;
        bank_lines::insert_match(tx, &back, None, now).await?;
        Ok(())
    }

    /// Credits money of a line for a declaration.
    pub(super) async fn credit(
        &self,
        tx: &mut PgConnection,
        line: &BankLine,
        transfer: &BankTransfer,
        fen: i64,
        matched_by: Option<Uuid>,
    ) -> Result<(), Error> {
        let now = self.app.now();
        let new = Match {
            bank_match_id: self.app.ids.id::<()>().uuid(),
            bank_line_id: line.bank_line_id,
            bank_transfer_id: transfer.bank_transfer_id,
            account_id: transfer.account_id,
            amount_fen: fen,
        };
        bank_lines::insert_match(tx, &new, matched_by, now).await?;
        bank_transfers::add_credited(tx, transfer.bank_transfer_id, fen).await?;
        let posting = Posting {
            movement: bank_booking::credit(transfer.account_id, fen * NANOS_PER_FEN),
            cause_id: new.bank_match_id,
        };
        ledger::book(tx, &self.app.ids, &[posting], now).await?;
        Ok(())
    }

    /// `false`: the line is there and says the same.
    async fn insert(
        &self,
        tx: &mut PgConnection,
        line: &StatementLine,
        stored: &BankLine,
        imported: &mut Imported,
    ) -> Result<bool, Error> {
        let content = content(line);
        let number = line.account.as_ref().map(|number| number.expose());
        let hashes = Hashes {
            content: self.index.entry(&content).mac.to_vec(),
            number: number.map(|number| self.index.entry(number).mac.to_vec()),
        };
        if bank_lines::insert(tx, stored, &hashes).await? {
            imported.new += 1;
            return Ok(true);
        }
        let known = bank_lines::content_of(tx, &line.serial).await?;
        if !known.is_some_and(|known| self.index.macs(&content).contains(&known)) {
            return Err(Error::BankLineConflict);
        }
        imported.known += 1;
        Ok(false)
    }

    fn stored(&self, line: &StatementLine, reverses: Option<Uuid>) -> BankLine {
        let account = line.account.as_ref();
        BankLine {
            bank_line_id: self.app.ids.id::<()>().uuid(),
            serial: line.serial.clone(),
            amount_fen: line.fen,
            matched_fen: 0,
            account_number_last4: account.map_or("", |number| number.last_four()).to_owned(),
            reference: line.reference.clone().unwrap_or_default(),
            reversed_at: None,
            reverses,
            booked_at: line.booked_at,
            imported_at: self.app.now(),
        }
    }
}

/// Everything that counts of a line. The format of the file does not: times in one may be days.
fn content(line: &StatementLine) -> String {
    let account = line.account.as_ref().map_or("", |number| number.expose());
    let reference = line.reference.as_deref().unwrap_or_default();
    let direction = match &line.direction {
        Direction::In => "in",
        Direction::Reversal(serial) => serial,
        Direction::Out => "out",
    };
    format!(
        "{}\n{}\n{direction}\n{account}\n{reference}",
        line.serial, line.fen
    )
}
