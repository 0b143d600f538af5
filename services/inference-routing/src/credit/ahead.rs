//! The next lease, asked for before a call needs it, and how large it should be.

use std::{sync::Arc, time::Duration};

use tokio::{sync::OwnedMutexGuard, time::Instant};
use wanwu_ids::AccountId;

use super::{Asking, Credit, lender::Wanted};
use crate::domain::lease_purse::Ask;

/// After billing did not lend ahead it is not asked to for so long.
const NOT_AHEAD: Duration = Duration::from_secs(1);

impl Credit {
    /// Gets the next lease while the last one still pays, so that no call has to wait for it. Where
    /// somebody asks already, or billing refused a moment ago, nothing is done.
    pub(super) fn fetch_ahead(self: &Arc<Self>, account: AccountId, ask: &Ask, hold: i64) {
        let asking = match self.accounts.lock().get(&account) {
            Some(entry) => entry.asking.clone().try_lock_owned(),
            None => return,
        };
        let may = |asking: &OwnedMutexGuard<Asking>| {
            asking.unanswered.is_none()
                && asking.not_ahead.is_none_or(|at| at.elapsed() > NOT_AHEAD)
        };
        let Some(mut asking) = asking.ok().filter(may) else {
            return;
        };
        let (credit, class) = (self.clone(), ask.class.clone());
        tokio::spawn(async move {
            let forgotten = {
                let accounts = credit.accounts.lock();
                accounts.get(&account).map_or(0, |entry| entry.forgotten)
            };
            let wanted = Wanted {
                least: hold,
                want: credit.want(account, hold),
                ahead: true,
            };
            let asked = credit.ask(account, &class, wanted, forgotten, &mut asking);
            let outcome = match asked.await {
                Ok(_) => "granted",
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "nothing was lent ahead"
                    );
                    asking.not_ahead = Some(Instant::now());
                    "refused"
                }
            };
            metrics::counter!("inference_routing_credit_ahead", "outcome" => outcome).increment(1);
        });
    }

    /// How much the next lease should be: so many holds like the one that needs it, and more where
    /// the last was soon used up.
    pub(super) fn want(&self, account: AccountId, hold: i64) -> i64 {
        let times = {
            let accounts = self.accounts.lock();
            accounts
                .get(&account)
                .map_or(1, |entry| entry.appetite.times())
        };
        hold.saturating_mul(self.config.want_factor)
            .max(self.config.want_nanos)
            .saturating_mul(times)
    }
}
