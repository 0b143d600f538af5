use chrono::{Days, TimeDelta};

use crate::{
    app::App,
    domain::{
        calendar,
        credit::{due_at, owed},
    },
    error::Error,
    store::{credit, statements},
};

/// A month is closed so long after its end: what was booked in it is committed by then.
const CLOSED_AFTER: TimeDelta = TimeDelta::hours(1);
/// Accounts that are closed together.
const AT_ONCE: i64 = 100;

impl App {
    /// Writes down what each account that has or had a limit owed at the end of each month that is
    /// over, and when that is due; answers how many. What leases held of packages at that instant counts
    /// as paid, for the customer's good.
    pub async fn close_credit_months(&self) -> Result<usize, Error> {
        let running = calendar::month(calendar::day(self.now() - CLOSED_AFTER));
        let last = calendar::month(running - Days::new(1));
        let mut closed = 0;
        loop {
            let mut connection = self.pool.acquire().await?;
            let unclosed = credit::unclosed(&mut connection, last, AT_ONCE).await?;
            if unclosed.is_empty() {
                return Ok(closed);
            }
            for (account_id, month) in unclosed {
                let end = calendar::begin(calendar::next_month(month));
                let mut tx = sqlx::Connection::begin(&mut *connection).await?;
                statements::read_at_one_instant(&mut tx).await?;
                let held = credit::held_before(&mut tx, account_id, end).await?;
                tx.rollback().await?;
                let due = (owed(held, 0), due_at(month));
                credit::insert_due(&mut connection, account_id, month, due, self.now()).await?;
                closed += 1;
            }
        }
    }
}
