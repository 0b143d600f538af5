use std::fmt::Write;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use sqlx::PgConnection;
use uuid::Uuid;
use wanwu_ids::{AccountId, OperatorId, OrderId};
use wanwu_postgres::page::{Page, PageRequest};

use crate::{
    app::App,
    domain::{attribution::Part, reconciliation::day_bounds},
    error::Error,
    store::{
        money::{self, ExportPosition, Found, Spending},
        money_accesses::{self, MoneyAccess},
    },
};

/// Most movements that a search answers.
const FOUND: i64 = 100;
/// Entries in a piece of an export.
const PIECE: i64 = 1000;
/// The first line of an export.
const HEAD: &str = "booked_at,transfer_id,kind,cause_id,ledger_account,account_id,amount_nanos\n";

/// What somebody has in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchBy {
    /// An id.
    Id(Uuid),
    /// A number at a provider, or a reference.
    Number(String),
    /// An amount in fen on a day in China.
    AmountOnDay(i64, NaiveDate),
}

/// Where the money of an order is.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What it brought, in 10^-9 CNY.
    pub credited: i64,
    /// What of it is left.
    pub left: i64,
    /// What it went for, each with its place from 1 on.
    pub parts: Page<(u64, Part<Spending>)>,
}

/// Entries between two instants, of one account or of all.
#[derive(Clone, Copy, Debug)]
pub struct Export {
    /// From this instant on.
    pub begin: DateTime<Utc>,
    /// And before this one.
    pub end: DateTime<Utc>,
    /// Only of this account.
    pub account_id: Option<AccountId>,
}

impl App {
    /// Finds money; who asked is written down first.
    pub async fn search_money(
        &self,
        operator_id: OperatorId,
        by: &SearchBy,
    ) -> Result<Vec<Found>, Error> {
        let mut tx = self.pool.begin().await?;
        let subject = match by {
            SearchBy::Id(id) => id.to_string(),
            SearchBy::Number(number) => number.clone(),
            SearchBy::AmountOnDay(fen, day) => format!("{fen} fen on {day}"),
        };
        self.note_access(&mut tx, operator_id, "search", subject)
            .await?;
        let found = match by {
            SearchBy::Id(id) => money::by_id(&mut tx, *id, FOUND).await?,
            SearchBy::Number(number) => money::by_number(&mut tx, number, FOUND).await?,
            SearchBy::AmountOnDay(fen, day) => {
                money::by_amount(&mut tx, *fen, day_bounds(*day), FOUND).await?
            }
        };
        tx.commit().await?;
        Ok(found)
    }

    /// Follows the money of one order to what it paid for.
    pub async fn trace_money(
        &self,
        operator_id: OperatorId,
        id: OrderId,
        page: &PageRequest<u64>,
    ) -> Result<Trace, Error> {
        let mut tx = self.pool.begin().await?;
        self.note_access(&mut tx, operator_id, "trace", id.to_string())
            .await?;
        tx.commit().await?;
        // One statement reads one state of the books, however long it takes.
        let mut tx = self.pool.begin().await?;
        sqlx::query("set local statement_timeout = '60s'")
            .execute(&mut *tx)
            .await?;
        let account_id = money::account_of_credit(&mut tx, id).await?;
        let account_id = account_id.ok_or(Error::NotFound)?;
        let (skip, limit) = (page.after.unwrap_or_default(), page.limit().unsigned_abs());
        let (mut place, mut rows) = (0_u64, Vec::new());
        let lots = money::attribute(&mut tx, account_id, |part| {
            if part.lot == id.uuid() {
                place += 1;
                if place > skip && place <= skip + limit {
                    rows.push((place, part));
                }
            }
        })
        .await?;
        let lot = lots.lots().iter().find(|lot| lot.cause == id.uuid());
        let lot = lot.ok_or(Error::NotFound)?;
        Ok(Trace {
            credited: lot.credited,
            left: lot.left,
            parts: page.page(rows, |(place, _)| *place),
        })
    }

    /// Writes down who exports what.
    pub async fn start_export(
        &self,
        operator_id: OperatorId,
        export: &Export,
    ) -> Result<(), Error> {
        let whose = export.account_id.map(|id| id.to_string());
        let subject = format!(
            "{} to {} of {}",
            instant(export.begin),
            instant(export.end),
            whose.as_deref().unwrap_or("all")
        );
        let mut connection = self.pool.acquire().await?;
        self.note_access(&mut connection, operator_id, "export", subject)
            .await?;
        Ok(())
    }

    /// A piece of an export, and where it goes on; `None`: it is over. The first piece begins with
    /// the head line.
    pub async fn export_piece(
        &self,
        export: Export,
        after: Option<ExportPosition>,
    ) -> Result<(String, Option<ExportPosition>), Error> {
        let mut connection = self.pool.acquire().await?;
        let bounds = (export.begin, export.end);
        let rows = money::export(&mut connection, bounds, export.account_id, after, PIECE).await?;
        let mut csv = match after {
            None => HEAD.to_owned(),
            Some(_) => String::new(),
        };
        for row in &rows {
            let whose = row.account_id.map(|id| id.to_string()).unwrap_or_default();
            // Writing to a string does not fail.
            let _ = writeln!(
                csv,
                "{},{},{},{},{},{whose},{}",
                instant(row.booked_at),
                row.transfer_id,
                row.kind,
                row.cause_id,
                row.ledger_account,
                row.amount_nanos
            );
        }
        let full = i64::try_from(rows.len()) == Ok(PIECE);
        let last = rows.last().filter(|_| full);
        let next = last.map(|row| (row.booked_at, row.transfer_id, row.ledger_account_id));
        Ok((csv, next))
    }

    /// Who asked what, newest first.
    pub async fn money_accesses(
        &self,
        page: &PageRequest<Uuid>,
    ) -> Result<Page<MoneyAccess>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows = money_accesses::list(&mut connection, page.after, page.limit()).await?;
        Ok(page.page(rows, |access| access.access_id))
    }

    /// Writes down that an operator looks at something, before they see it.
    pub(crate) async fn note_access(
        &self,
        tx: &mut PgConnection,
        operator_id: OperatorId,
        action: &str,
        subject: String,
    ) -> sqlx::Result<()> {
        let access = MoneyAccess {
            access_id: self.ids.id::<()>().uuid(),
            operator_id,
            action: action.to_owned(),
            subject,
            accessed_at: self.now(),
        };
        money_accesses::insert(tx, &access).await
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
