//! What billing does unasked: it looks at unpaid orders, sends refunds, fetches bills and certificates, passes
//! recalls of other replicas on, and measures.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use wanwu_ids::AccountId;
use wanwu_service::Shell;

use crate::{
    app::{App, Recall},
    bank_desk::BankDesk,
    domain::money::NANOS_PER_CNY,
    error::Error,
    order_desk::overdue_brand_applications,
    store::{
        audit, bank_lines, credit, leases, orders,
        recalls::{self, Wanted},
        reconciliation, refunds,
    },
};

/// How often unpaid orders and refunds are looked at.
const LOOK_AT_ORDERS: Duration = Duration::from_secs(1);
/// How often lines are looked for that an import left behind.
const LOOK_AT_BANK_LINES: Duration = Duration::from_secs(5);
/// How often it is looked whether a contract ends.
const LOOK_AT_CONTRACTS: Duration = Duration::from_secs(5);
/// How often packages that are over are looked for.
const LOOK_AT_PACKAGES: Duration = Duration::from_secs(60);
/// How often it is looked whether a month is over that enterprises owe of, or a limit ends.
const LOOK_AT_CREDIT: Duration = Duration::from_secs(60);
/// How often balances are compared with what accounts want to be told of.
const LOOK_AT_BALANCES: Duration = Duration::from_secs(10);
/// How often it is looked whether a bill is due.
const LOOK_AT_BILLS: Duration = Duration::from_secs(60);
/// How often WeChat Pay is asked for its certificates: it wants twelve hours at most.
const LOOK_AT_CERTIFICATES: Duration = Duration::from_secs(10 * 3600);
/// How often recalls of other replicas are looked at.
const LOOK_AT_RECALLS: Duration = Duration::from_millis(50);
/// How often what the alerts look at is measured.
const MEASURE: Duration = Duration::from_secs(30);
/// How often the ledger is recomputed from its entries.
const AUDIT: Duration = Duration::from_secs(3600);

/// Starts the tasks.
pub(crate) fn start(app: &Arc<App>, shell: &Shell) {
    let (this, stop) = (Arc::clone(app), shell.stopping());
    shell.spawn_infallible("unpaid orders", async move {
        let ask = || this.query_unpaid_orders();
        every(LOOK_AT_ORDERS, &stop, "unpaid orders", ask).await;
    });
    let (this, stop) = (Arc::clone(app), shell.stopping());
    shell.spawn_infallible("refunds", async move {
        every(LOOK_AT_ORDERS, &stop, "refunds", || this.send_refunds()).await;
    });
    let (this, stop) = (Arc::clone(app), shell.stopping());
    shell.spawn_infallible("contracts", async move {
        every(LOOK_AT_CONTRACTS, &stop, "contracts", || {
            this.end_contracts()
        })
        .await;
    });
    let (this, stop) = (Arc::clone(app), shell.stopping());
    shell.spawn_infallible("packages", async move {
        let expire = || this.expire_packages();
        every(LOOK_AT_PACKAGES, &stop, "packages", expire).await;
    });
    let (this, stop) = (Arc::clone(app), shell.stopping());
    shell.spawn_infallible("credit", async move {
        let close = || async {
            this.end_credit_limits().await?;
            this.close_credit_months().await?;
            this.remind_of_dues().await
        };
        every(LOOK_AT_CREDIT, &stop, "credit", close).await;
    });
    let (this, stop) = (Arc::clone(app), shell.stopping());
    shell.spawn_infallible("low balances", async move {
        let tell = || this.tell_low_balances();
        every(LOOK_AT_BALANCES, &stop, "low balances", tell).await;
    });
    let (this, stop) = (Arc::clone(app), shell.stopping());
    shell.spawn_infallible("bills", async move {
        every(LOOK_AT_BILLS, &stop, "bills", || this.fetch_bills()).await;
    });
    let (this, stop) = (Arc::clone(app), shell.stopping());
    shell.spawn_infallible("certificates", async move {
        let refresh = || async { Ok(this.providers.wechat.refresh_platform().await?) };
        every(LOOK_AT_CERTIFICATES, &stop, "certificates", refresh).await;
    });
    let (this, stop) = (Arc::clone(app), shell.stopping());
    shell.spawn_infallible("recalls", async move { this.pass_recalls_on(stop).await });
    let (this, stop) = (Arc::clone(app), shell.stopping());
    shell.spawn_infallible("measure", async move {
        every(MEASURE, &stop, "balances", || this.measure()).await;
    });
    let (this, stop) = (Arc::clone(app), shell.stopping());
    shell.spawn_infallible("audit", async move {
        every(AUDIT, &stop, "the ledger", || this.audit()).await;
    });
}

/// Starts the task that finds whose bank lines are that an import left behind.
pub(crate) fn match_bank_lines(bank: &Arc<BankDesk>, shell: &Shell) {
    let (bank, stop) = (Arc::clone(bank), shell.stopping());
    shell.spawn_infallible("bank lines", async move {
        let find = || bank.match_waiting();
        every(LOOK_AT_BANK_LINES, &stop, "bank lines", find).await;
    });
}

impl App {
    /// Tells the routers that watch here what was recalled through another replica.
    pub async fn pass_recalls_on(&self, stop: CancellationToken) {
        let mut told = HashMap::<AccountId, Wanted>::new();
        let pause = || stop.run_until_cancelled(tokio::time::sleep(LOOK_AT_RECALLS));
        while pause().await.is_some() {
            // Away: who waits for credit is refused, and the next look finds what is new.
            let Ok(wanted) = recalls::recent(&self.pool).await else {
                continue;
            };
            for new in &wanted {
                let before = told.get(&new.account_id);
                if before != Some(new) {
                    let changed = before.and_then(|before| before.changed_at);
                    // Nobody watches: nobody to tell.
                    let _ = self.recalls.send(Recall {
                        account_id: new.account_id,
                        forget: new.changed_at.is_some() && new.changed_at != changed,
                    });
                }
            }
            told = wanted
                .into_iter()
                .map(|wanted| (wanted.account_id, wanted))
                .collect();
        }
    }

    /// Sets the gauges that the alerts look at.
    pub async fn measure(&self) -> Result<(), Error> {
        let mut connection = self.pool.acquire().await?;
        set_imbalance("balances", audit::glance(&mut connection).await?);
        let age = leases::oldest_unsettled(&mut connection, self.now()).await?;
        metrics::gauge!("wanwu_leases_unsettled_oldest_seconds").set(age);
        let age = bank_lines::oldest_unmatched(&mut connection, self.now()).await?;
        metrics::gauge!("wanwu_bank_unmatched_oldest_seconds").set(age);
        let owed = credit::owed_by_all(&mut connection).await?;
        metrics::gauge!("wanwu_credit_owed_yuan").set(owed as f64 / NANOS_PER_CNY as f64);
        let overdue = credit::overdue_accounts(&mut connection, self.now()).await?;
        metrics::gauge!("wanwu_credit_overdue_accounts").set(overdue as f64);
        let cases = reconciliation::count_open(&mut connection).await?;
        metrics::gauge!("wanwu_reconciliation_cases_open").set(cases as f64);
        let overdue = self.bills_overdue().await?;
        metrics::gauge!("wanwu_provider_bills_overdue").set(overdue as f64);
        let overdue = overdue_brand_applications(&mut connection, self.now()).await?;
        metrics::gauge!("wanwu_brand_applications_overdue").set(overdue as f64);
        for (state, orders) in orders::count_unpaid(&mut connection).await? {
            metrics::gauge!("wanwu_orders", "state" => state.as_str()).set(orders as f64);
        }
        for (state, open) in refunds::count_open(&mut connection).await? {
            metrics::gauge!("wanwu_refunds", "state" => state).set(open as f64);
        }
        Ok(())
    }

    /// Recomputes the ledger for the alert.
    pub async fn audit(&self) -> Result<(), Error> {
        set_imbalance("entries", self.audit_ledger().await?.wrong());
        Ok(())
    }
}

fn set_imbalance(looked_at: &'static str, wrong: i64) {
    if wrong != 0 {
        tracing::error!(looked_at, wrong, "the ledger does not balance");
    }
    metrics::gauge!("wanwu_ledger_imbalance", "looked_at" => looked_at).set(wrong as f64);
}

/// Does something at once and then again and again until stopped; says once when it begins to
/// fail.
async fn every<T, F: Future<Output = Result<T, Error>>>(
    pause: Duration,
    stop: &CancellationToken,
    what: &'static str,
    work: impl Fn() -> F,
) {
    let mut failing = false;
    while !stop.is_cancelled() {
        match work().await {
            Ok(_) => failing = false,
            Err(error) => {
                if !failing {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, what, "cannot be looked at");
                }
                failing = true;
            }
        }
        let _ = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}
