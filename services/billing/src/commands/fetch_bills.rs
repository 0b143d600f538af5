use chrono::{Days, NaiveDate};
use wanwu_postgres::page::{Page, PageRequest};

use super::reconcile_bill::{ReconcileBill, Reconciled};
use crate::{
    app::App,
    domain::{
        payment::Provider,
        provider_bill::{china_date, due_days, is_empty_at, next_try},
    },
    error::Error,
    store::provider_bills::{self, Position, ProviderBill},
};

impl App {
    /// Fetches every bill that is due and compares it, once for each provider and day. Answers how
    /// many were compared. A bill that a provider does not have yet is asked for again.
    pub async fn fetch_bills(&self) -> Result<usize, Error> {
        let now = self.now();
        let mut connection = self.pool.acquire().await?;
        for provider in self.providers.configured() {
            let (known, paid) = provider_bills::first(&mut connection, provider).await?;
            let days = due_days(known, paid, now);
            provider_bills::expect(&mut connection, provider, &days, now).await?;
        }
        let due = provider_bills::due(&mut connection, now, 200).await?;
        drop(connection);
        let mut compared = 0;
        for bill in due {
            let (provider, day) = (bill.provider.as_str(), bill.day);
            match self.fetch_due_bill(&bill).await {
                Ok(found) => compared += usize::from(found.is_some()),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, provider, %day, "a bill could not be fetched; it will be again");
                }
            }
        }
        Ok(compared)
    }

    async fn fetch_due_bill(&self, bill: &ProviderBill) -> Result<Option<Reconciled>, Error> {
        let mut connection = self.pool.acquire().await?;
        let next = next_try(self.now(), bill.tries);
        if !provider_bills::start(&mut connection, bill, next).await? {
            return Ok(None);
        }
        drop(connection);
        self.compare_bill(bill.provider, bill.day).await
    }

    /// Fetches one bill now and compares it; `BillNotReady`: the provider has none, or none yet.
    pub async fn fetch_bill(
        &self,
        provider: Provider,
        day: NaiveDate,
    ) -> Result<Reconciled, Error> {
        let found = self.compare_bill(provider, day).await?;
        found.ok_or(Error::BillNotReady)
    }

    async fn compare_bill(
        &self,
        provider: Provider,
        day: NaiveDate,
    ) -> Result<Option<Reconciled>, Error> {
        let found = self.providers.get(provider)?.bill(day).await?;
        let now = self.now();
        let lines = match found {
            Some(lines) => lines,
            None if is_empty_at(day, now) => Vec::new(),
            None => return Ok(None),
        };
        let command = ReconcileBill {
            provider: provider.as_str().to_owned(),
            day,
            lines,
        };
        let mut tx = self.pool.begin().await?;
        let reconciled = self.reconcile_in(&mut tx, &command).await?;
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let bill = ProviderBill {
            provider,
            day,
            tries: 0,
            compared_at: Some(now),
            lines: count(command.lines.len()),
            agreed: count(reconciled.agreed),
            differences: count(reconciled.differences),
        };
        // A day that is not over has another bill tomorrow.
        if day < china_date(now) {
            provider_bills::finish(&mut tx, &bill, now).await?;
        }
        tx.commit().await?;
        let (provider, differences) = (provider.as_str(), reconciled.differences);
        tracing::info!(provider, %day, lines = bill.lines, differences, "a bill was compared");
        Ok(Some(reconciled))
    }

    /// The bills of each day, newest first.
    pub async fn provider_bills(
        &self,
        page: &PageRequest<Position>,
    ) -> Result<Page<ProviderBill>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows = provider_bills::list(&mut connection, page.after.as_ref(), page.limit()).await?;
        Ok(page.page(rows, |bill| {
            Position(bill.day, bill.provider.as_str().to_owned())
        }))
    }

    /// Days before yesterday whose bills are not compared.
    pub(crate) async fn bills_overdue(&self) -> Result<i64, Error> {
        let mut connection = self.pool.acquire().await?;
        let before = china_date(self.now()) - Days::new(2);
        Ok(provider_bills::count_open(&mut connection, before).await?)
    }
}
