use chrono::{DateTime, Utc};
use wanwu_ids::AccountId;

use crate::{
    app::{App, Recall},
    domain::{
        budget::{Budget, Period, Subject, Used},
        calendar,
    },
    error::Error,
    store::{
        budgets::{self, StoredBudget},
        recalls,
    },
};

/// Most budgets of an account.
const MAX_BUDGETS: usize = 1_000;

/// A budget and what is used of it.
#[derive(Clone, Copy, Debug)]
pub struct BudgetNow {
    /// The budget.
    pub budget: Budget,
    /// When it was set.
    pub changed_at: DateTime<Utc>,
    /// The first day that counts.
    pub counts_from: chrono::NaiveDate,
    /// What is used.
    pub used: Used,
}

impl App {
    /// Sets the budget of an app or a key, or takes it away, and calls the account's leases back:
    /// the next call asks anew what it may spend.
    pub async fn set_budget(
        &self,
        account_id: AccountId,
        subject: Subject,
        amount: Option<(i64, Period)>,
    ) -> Result<Option<BudgetNow>, Error> {
        let now = self.now();
        let today = calendar::day(now);
        let mut tx = self.pool.begin().await?;
        budgets::lock_account(&mut tx, account_id).await?;
        let kept = budgets::of_account(&mut tx, account_id).await?;
        let others = kept.iter().filter(|kept| kept.budget.subject != subject);
        let set = match amount {
            None => {
                budgets::remove(&mut tx, account_id, subject).await?;
                None
            }
            Some(_) if others.count() >= MAX_BUDGETS => {
                let what = format!("{MAX_BUDGETS} apps and keys have budgets already");
                return Err(Error::invalid("subject", what));
            }
            Some((amount, period)) => {
                let budget = Budget {
                    budget_id: self.ids.id::<()>().uuid(),
                    subject,
                    amount,
                    period,
                    first_day: today,
                };
                let stored = budgets::set(&mut tx, account_id, &budget, now).await?;
                Some(budget_now(&mut tx, account_id, stored, today).await?)
            }
        };
        recalls::change(&mut tx, account_id).await?;
        tx.commit().await?;
        self.tell_changed(account_id);
        Ok(set)
    }

    /// Every budget of an account.
    pub async fn budgets(&self, account_id: AccountId) -> Result<Vec<BudgetNow>, Error> {
        let today = calendar::day(self.now());
        let mut connection = self.pool.acquire().await?;
        let mut all = Vec::new();
        for stored in budgets::of_account(&mut connection, account_id).await? {
            all.push(budget_now(&mut connection, account_id, stored, today).await?);
        }
        Ok(all)
    }

    /// Tells the routers that watch here; the others hear it through the table `recalls`.
    pub(super) fn tell_changed(&self, account_id: AccountId) {
        // Nobody watches: nobody to tell.
        let _ = self.recalls.send(Recall {
            account_id,
            forget: true,
        });
    }
}

async fn budget_now(
    tx: &mut sqlx::PgConnection,
    account_id: AccountId,
    stored: StoredBudget,
    today: chrono::NaiveDate,
) -> sqlx::Result<BudgetNow> {
    let StoredBudget { budget, changed_at } = stored;
    Ok(BudgetNow {
        budget,
        changed_at,
        counts_from: budget.counts_from(today),
        used: budgets::used(tx, account_id, &budget, today).await?,
    })
}
