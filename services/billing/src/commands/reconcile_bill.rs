use chrono::NaiveDate;
use uuid::Uuid;
use wanwu_ids::OperatorId;
use wanwu_postgres::page::{Page, PageRequest};

use crate::{
    app::App,
    domain::reconciliation::{Difference, Payment, compare, day_bounds},
    error::Error,
    store::reconciliation::{self, Case},
};

/// A provider's bill of one day.
pub struct ReconcileBill {
    /// As stored with payments: `wechat`.
    pub provider: String,
    /// The day, in China.
    pub day: NaiveDate,
    /// Every payment of the day.
    pub lines: Vec<Payment>,
}

/// What came of a bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// Payments that agree.
    pub agreed: usize,
    /// Differences that were found.
    pub differences: usize,
    /// Of these, those that have a new case.
    pub opened: u64,
}

impl App {
    /// Compares a bill with our payments and opens a case for each difference that has none. The
    /// same bill again opens nothing.
    pub async fn reconcile_bill(&self, command: &ReconcileBill) -> Result<Reconciled, Error> {
        let mut tx = self.pool.begin().await?;
        let reconciled = self.reconcile_in(&mut tx, command).await?;
        tx.commit().await?;
        Ok(reconciled)
    }

    /// As `reconcile_bill`, in the caller's transaction.
    pub(super) async fn reconcile_in(
        &self,
        tx: &mut sqlx::PgConnection,
        command: &ReconcileBill,
    ) -> Result<Reconciled, Error> {
        let bounds = day_bounds(command.day);
        let booked = reconciliation::booked(tx, &command.provider, bounds).await?;
        let found = compare(&command.lines, &booked);
        let cases: Vec<(Uuid, Difference)> = found
            .differences
            .into_iter()
            .map(|difference| (self.ids.id::<()>().uuid(), difference))
            .collect();
        let (provider, day) = (&command.provider, command.day);
        let opened = reconciliation::open(tx, provider, day, &cases, self.now()).await?;
        Ok(Reconciled {
            agreed: found.agreed,
            differences: cases.len(),
            opened,
        })
    }

    /// Cases, newest first.
    pub async fn reconciliation_cases(
        &self,
        open_only: bool,
        page: &PageRequest<Uuid>,
    ) -> Result<Page<Case>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows =
            reconciliation::list(&mut connection, open_only, page.after, page.limit()).await?;
        Ok(page.page(rows, |case| case.case_id))
    }

    /// Writes what became of a case; the same words again change nothing.
    pub async fn resolve_reconciliation_case(
        &self,
        operator_id: OperatorId,
        case_id: Uuid,
        resolution: &str,
    ) -> Result<Case, Error> {
        let mut tx = self.pool.begin().await?;
        let case = reconciliation::lock(&mut tx, case_id).await?;
        let mut case = case.ok_or(Error::NotFound)?;
        match &case.resolution {
            Some(before) if before == resolution => return Ok(case),
            Some(_) => return Err(Error::CaseResolved),
            None => {}
        }
        let now = self.now();
        reconciliation::resolve(&mut tx, case_id, operator_id.uuid(), resolution, now).await?;
        tx.commit().await?;
        case.resolved_at = Some(now);
        case.resolution = Some(resolution.to_owned());
        Ok(case)
    }
}
