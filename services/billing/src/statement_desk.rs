//! Makes the monthly statements and reads them out. It has keys of its own: who rewrites a
//! statement in the database needs them as well.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use chrono::{NaiveDate, SubsecRound, TimeDelta};
use futures::TryStreamExt;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use wanwu_clock::SharedClock;
use wanwu_ids::AccountId;
use wanwu_personal::KeyProvider;
use wanwu_postgres::page::{Page, PageRequest};

use crate::{
    domain::{calendar, checkpoint::CheckpointKeys, monthly_statement::Writer},
    error::Error,
    store::statements::{self, Statement},
};

/// What the statements' keys are derived for.
const PURPOSE: &str = "billing.statements";
/// Between two looks at what is due.
const LOOK: Duration = Duration::from_secs(600);
/// A month is closed so long after its end: what was booked in it is committed by then.
const CLOSED_AFTER: TimeDelta = TimeDelta::hours(1);
/// Accounts that are looked up together.
const AT_ONCE: i64 = 500;
/// Bytes of a part.
const PART: usize = 256 * 1024;

/// Makes statements and reads them out.
pub struct StatementDesk {
    pool: PgPool,
    clock: SharedClock,
    keys: CheckpointKeys,
}

/// The parts of a file on their way to the database.
struct Parts {
    month: NaiveDate,
    account_id: AccountId,
    digest: Context,
    size: usize,
    number: i32,
}

impl Parts {
    /// Writes whole parts of what is there; at the end, all of it.
    async fn write(
        &mut self,
        tx: &mut PgConnection,
        file: &mut String,
        all: bool,
    ) -> sqlx::Result<()> {
        while file.len() >= PART || (all && !file.is_empty()) {
            let rest = file.split_off(file.floor_char_boundary(PART.min(file.len())));
            let part = std::mem::replace(file, rest);
            self.digest.update(part.as_bytes());
            self.size += part.len();
            let (account, month) = (self.account_id, self.month);
            statements::insert_part(tx, account, month, self.number, part.as_bytes()).await?;
            self.number += 1;
        }
        Ok(())
    }
}

impl StatementDesk {
    /// A desk with these keys.
    #[must_use]
    pub fn new(pool: PgPool, clock: SharedClock, keys: CheckpointKeys) -> Self {
        Self { pool, clock, keys }
    }

    /// The keys of the service's statements, from its secret file.
    #[must_use]
    pub fn keys(keys: &KeyProvider) -> CheckpointKeys {
        let seeds = keys.ids().filter_map(|id| {
            let seed = keys.secret_of(id, PURPOSE).ok()?;
            Some((id, *seed))
        });
        CheckpointKeys::new(keys.active(), seeds)
    }

    /// Makes what is due again and again until stopped.
    pub async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Some(Err(error)) = stop.run_until_cancelled(self.make_due()).await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "statements cannot be made");
            }
            let _ = stop.run_until_cancelled(tokio::time::sleep(LOOK)).await;
        }
    }

    /// Makes every statement of every closed month that is not made yet; answers how many.
    ///
    /// # Errors
    /// When the database fails: the next time goes on.
    pub async fn make_due(&self) -> Result<usize, Error> {
        let closed = calendar::month(calendar::day(self.clock.now() - CLOSED_AFTER));
        let mut connection = self.pool.acquire().await?;
        let next = match statements::last_month(&mut connection).await? {
            Some(last) => Some(calendar::next_month(last)),
            None => statements::first_booking(&mut connection)
                .await?
                .map(|at| calendar::month(calendar::day(at))),
        };
        drop(connection);
        let mut made = 0;
        let mut month = next.unwrap_or(closed);
        while month < closed {
            made += self.make_month(month).await?;
            month = calendar::next_month(month);
        }
        Ok(made)
    }

    async fn make_month(&self, month: NaiveDate) -> Result<usize, Error> {
        let (mut made, mut after, mut all) = (0, None, true);
        loop {
            let mut connection = self.pool.acquire().await?;
            let due = statements::due(&mut connection, month, after, AT_ONCE).await?;
            drop(connection);
            let Some(last) = due.last() else { break };
            after = Some(*last);
            for account_id in due {
                match self.make(account_id, month).await? {
                    Some(true) => made += 1,
                    Some(false) => {}
                    // Another replica makes it and may yet fail, or it is wrong.
                    None => all = false,
                }
            }
        }
        if all {
            let mut connection = self.pool.acquire().await?;
            statements::insert_month(&mut connection, month, self.clock.now()).await?;
        }
        Ok(made)
    }

    /// Makes one statement: `Some(false)` where the account held nothing and nothing moved, `None`
    /// where another replica makes it or it cannot be made: the month stays open.
    async fn make(&self, account_id: AccountId, month: NaiveDate) -> Result<Option<bool>, Error> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("select set_config('idle_in_transaction_session_timeout', '10min', true)")
            .execute(&mut *tx)
            .await?;
        if !statements::take_turn(&mut tx, account_id).await? {
            return Ok(None);
        }
        if statements::find(&mut tx, account_id, month)
            .await?
            .is_some()
        {
            return Ok(Some(false));
        }
        // Another connection, so that what is read is not kept here.
        let mut reader = self.pool.begin().await?;
        statements::read_at_one_instant(&mut reader).await?;
        let time = (
            calendar::begin(month),
            calendar::begin(calendar::next_month(month)),
        );
        let opening = statements::held_before(&mut reader, account_id, time.0).await?;
        let mut parts = Parts {
            month,
            account_id,
            digest: Context::new(&SHA256),
            size: 0,
            number: 0,
        };
        let mut file = String::new();
        let mut writer = Writer::begin(account_id, month, opening, &mut file);
        let mut lines = statements::lines(&mut reader, account_id, time);
        while let Some(line) = lines.try_next().await? {
            writer.line(&line, &mut file);
            parts.write(&mut tx, &mut file, false).await?;
        }
        drop(lines);
        if writer.lines == 0 && opening == 0 {
            return Ok(Some(false));
        }
        // By another sum: what a statement says agrees with the ledger, or it is not made.
        let closing = statements::held_before(&mut reader, account_id, time.1).await?;
        if closing != writer.balance {
            tracing::error!(account.id = %account_id, %month, "a statement does not agree with the ledger");
            return Ok(None);
        }
        writer.end(month, &mut file);
        parts.write(&mut tx, &mut file, true).await?;
        let digest = parts.digest.finish();
        let digest: [u8; 32] = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
        let statement = Statement {
            account_id,
            month,
            opening_nanos: opening,
            closing_nanos: closing,
            lines: writer.lines,
            size: i64::try_from(parts.size).unwrap_or(i64::MAX),
            parts: parts.number,
            signature: self.keys.sign(&digest).to_vec(),
            sha256: digest.to_vec(),
            key_id: self.keys.active().to_owned(),
            made_at: self.clock.now().trunc_subsecs(6),
        };
        statements::insert(&mut tx, &statement).await?;
        tx.commit().await?;
        Ok(Some(true))
    }

    /// The account's statements, newest first.
    pub async fn list(
        &self,
        account_id: AccountId,
        page: &PageRequest<NaiveDate>,
    ) -> Result<Page<Statement>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows = statements::list(&mut connection, account_id, page.after, page.limit()).await?;
        Ok(page.page(rows, |statement| statement.month))
    }

    /// A statement and one of its parts.
    pub async fn read(
        &self,
        account_id: AccountId,
        month: NaiveDate,
        part: i32,
    ) -> Result<(Statement, Vec<u8>), Error> {
        let mut connection = self.pool.acquire().await?;
        let statement = statements::find(&mut connection, account_id, month).await?;
        let content = statements::find_part(&mut connection, account_id, month, part).await?;
        statement.zip(content).ok_or(Error::NotFound)
    }

    /// The public half of a key that signed; empty: it is not known here any more.
    #[must_use]
    pub fn public_key(&self, id: &str) -> Vec<u8> {
        let mut keys = self.keys.public_keys();
        let key = keys.find(|(key, _)| *key == id);
        key.map(|(_, key)| key.to_vec()).unwrap_or_default()
    }
}
