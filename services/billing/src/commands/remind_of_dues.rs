use crate::{
    app::App,
    domain::{
        calendar,
        credit::{Reminder, overdue},
        money::NANOS_PER_FEN,
    },
    error::Error,
    providers::alipay::yuan,
    store::credit,
};

/// Months that are looked at together.
const AT_ONCE: i64 = 100;

impl App {
    /// Tells enterprises what they owe of a month and until when, and once more when that time is over
    /// and something is not paid; each once. Answers how many were told.
    pub async fn remind_of_dues(&self) -> Result<usize, Error> {
        let mut told = 0;
        loop {
            let mut tx = self.pool.begin().await?;
            let now = self.now();
            let open = credit::without_reminder(&mut tx, now, AT_ONCE).await?;
            if open.is_empty() {
                return Ok(told);
            }
            for due in open {
                let (kind, left) = if due.due_at > now {
                    (Reminder::Due, due.owed)
                } else {
                    let left = overdue(&credit::dues(&mut tx, due.account_id).await?, now);
                    (Reminder::after_the_date(left), left)
                };
                // Another replica was first.
                if !credit::insert_reminder(&mut tx, due.account_id, due.month, kind, now).await? {
                    continue;
                }
                if let Some(template) = kind.template() {
                    let date = calendar::day(due.due_at - chrono::TimeDelta::seconds(1));
                    let params = [
                        ("amount", yuan((left + NANOS_PER_FEN - 1) / NANOS_PER_FEN)),
                        ("date", date.to_string()),
                    ];
                    self.notify(&mut tx, due.account_id, template, params)
                        .await?;
                    told += 1;
                }
            }
            tx.commit().await?;
        }
    }
}
