use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    app::App,
    domain::{funding::Funding, ledger::Movement, package_booking},
    store::{
        leases::StoredLease,
        ledger::Posting,
        packages::{self, LeasePackage},
    },
};

impl App {
    /// What goes back to where it came from when a lease is freed: what was spent is taken from
    /// packages first. It locks packages before any account of the ledger.
    pub(super) async fn free_lease(
        &self,
        tx: &mut PgConnection,
        stored: &StoredLease,
        now: DateTime<Utc>,
    ) -> sqlx::Result<Vec<Posting>> {
        let parts = match stored.package_nanos {
            0 => Vec::new(),
            _ => packages::lock_parts(tx, stored.lease_id).await?,
        };
        let funding = Funding {
            packages: parts
                .iter()
                .map(|part| (part.lease_package_id, part.amount_nanos))
                .collect(),
            balance: stored.lease.amount - stored.package_nanos,
        };
        let rest = funding.rest(stored.lease.settled.nanos);
        let mut postings = vec![Posting {
            movement: Movement::lease_return(stored.account_id, rest.balance),
            cause_id: stored.lease_id.uuid(),
        }];
        for (part, (_, nanos)) in parts.iter().zip(rest.packages) {
            postings.extend(self.return_part(tx, stored, part, nanos, now).await?);
        }
        Ok(postings)
    }

    /// What comes back of a package that is over meanwhile is over too.
    async fn return_part(
        &self,
        tx: &mut PgConnection,
        stored: &StoredLease,
        part: &LeasePackage,
        nanos: i64,
        now: DateTime<Utc>,
    ) -> sqlx::Result<Vec<Posting>> {
        let posting = |movement| Posting {
            movement,
            cause_id: part.lease_package_id,
        };
        let mut postings = vec![posting(package_booking::give_back(
            stored.account_id,
            nanos,
        ))];
        if part.expires_at > now {
            packages::give_back(tx, part.package_id, nanos).await?;
        } else {
            postings.push(posting(package_booking::expire(stored.account_id, nanos)));
        }
        Ok(postings)
    }
}
