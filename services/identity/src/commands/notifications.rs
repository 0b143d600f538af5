use std::collections::HashMap;

use chrono::Duration;
use futures::future::join_all;
use sqlx::PgConnection;
use wanwu_ids::AccountId;

use crate::{
    app::App,
    error::Error,
    store::{
        accounts,
        notifications::{self, Due},
    },
};

/// Messages that are sent at the same time.
const BATCH: i64 = 8;
/// Longer than a message can take: a notification that was taken by a process that died is taken
/// again after it.
const LEASE: Duration = Duration::seconds(60);
/// Tries, after which a notification is given up.
const MAX_ATTEMPTS: i32 = 5;
/// Values of a template, and bytes of each.
const MAX_PARAMS: usize = 20;
const MAX_PARAM_BYTES: usize = 200;

impl App {
    /// Writes down that a person is to be told something, in the transaction of who wants it.
    pub async fn note_notification(
        &self,
        tx: &mut PgConnection,
        account_id: AccountId,
        template: &str,
        params: &HashMap<String, String>,
    ) -> Result<(), Error> {
        self.template(template)?;
        let bounded = params.len() <= MAX_PARAMS
            && params
                .iter()
                .all(|(name, value)| name.len().max(value.len()) <= MAX_PARAM_BYTES);
        if !bounded {
            return Err(Error::invalid("params", "are too many or too long"));
        }
        if accounts::sealed_phone(tx, account_id).await?.is_none() {
            return Err(Error::NotFound);
        }
        let id = self.ids.id::<()>().uuid();
        let now = self.clock.now();
        notifications::insert(tx, id, account_id, template, params, now).await?;
        Ok(())
    }

    /// Sends what is due, outside of any transaction; answers how many were tried.
    ///
    /// A person is told at least once, unless the provider refuses five times. Told twice is who was
    /// told by a process that died, or lost the provider's answer, before it was written down: both
    /// messages then carry the notification's id.
    pub async fn send_due_notifications(&self) -> Result<usize, Error> {
        let due = notifications::take_due(&self.pool, self.clock.now(), LEASE, BATCH).await?;
        let results = join_all(due.iter().map(|due| self.send_notification(due))).await;
        results.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(due.len())
    }

    /// Tries one and writes down what became of it.
    async fn send_notification(&self, due: &Due) -> Result<(), Error> {
        let id = due.notification_id;
        let tried = async {
            let template = self.template(&due.template)?;
            let phone = self.phone_of(due.account_id).await?;
            self.sms.send(id, &phone, template, &due.params).await?;
            Ok::<_, Error>(())
        };
        let now = self.clock.now();
        let outcome = match tried.await {
            Ok(()) => {
                notifications::mark_sent(&self.pool, id, now).await?;
                "sent"
            }
            Err(error) => {
                let again = due.attempts < MAX_ATTEMPTS;
                // 5, 20, 80, 320 seconds.
                let pause = Duration::seconds(5 << (2 * (due.attempts - 1).clamp(0, 10)));
                let next_at = again.then_some(now + pause);
                let text = error.to_string();
                notifications::mark_failed(&self.pool, id, next_at, &text).await?;
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, again, notification.id = %id, "a notification was not sent");
                if again { "retried" } else { "given_up" }
            }
        };
        metrics::counter!("wanwu_notifications_total", "outcome" => outcome).increment(1);
        Ok(())
    }
}
