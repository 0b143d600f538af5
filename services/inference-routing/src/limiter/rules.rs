//! The rules of every account, followed as they change.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use parking_lot::RwLock;
use sqlx::PgPool;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use wanwu_ids::AccountId;

use crate::{
    domain::{limits::AccountRules, table::Table},
    store::limit_rules::{self, KeptRule},
};

/// How often changes are looked for.
const EVERY: Duration = Duration::from_millis(500);
/// A row may become visible so long after its time: changes are read again from then on.
const OVERLAP: Duration = Duration::from_secs(10);

/// The rules as they were read last.
#[derive(Default)]
pub struct FollowedRules {
    accounts: RwLock<Table<AccountId, AccountRules>>,
    read: AtomicBool,
}

impl FollowedRules {
    /// They were read once.
    pub fn are_read(&self) -> bool {
        self.read.load(Ordering::Acquire)
    }

    /// Looks at the rules of an account.
    pub fn with<T>(&self, account: AccountId, look: impl FnOnce(Option<&AccountRules>) -> T) -> T {
        look(self.accounts.read().get(&account))
    }

    /// Follows changes until `stop`.
    pub async fn follow(&self, pool: &PgPool, stop: CancellationToken) {
        let mut since = DateTime::<Utc>::UNIX_EPOCH;
        while !stop.is_cancelled() {
            match limit_rules::changed_since(pool, since).await {
                Ok(changed) => {
                    if let Some(last) = changed.last() {
                        since = last.changed_at - OVERLAP;
                    }
                    self.apply(&changed);
                    self.read.store(true, Ordering::Release);
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "changed limits cannot be read: the known ones hold"
                ),
            }
            tokio::select! {
                () = sleep(EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    fn apply(&self, changed: &[KeptRule]) {
        if changed.is_empty() {
            return;
        }
        let mut accounts = self.accounts.write();
        for kept in changed {
            let rules = accounts.entry(kept.account).or_default();
            rules.set(kept.subject, kept.rule);
            if rules.is_empty() {
                accounts.remove(&kept.account);
            }
        }
    }
}
