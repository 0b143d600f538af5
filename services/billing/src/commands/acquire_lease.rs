use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::{Instant, timeout};
use wanwu_ids::{AccountId, EpochId, LeaseId};
use wanwu_proto::billing::v1::BalanceExhausted;

use crate::{
    app::App,
    domain::{
        lease::Lease,
        ledger::{LedgerAccount, Movement},
    },
    error::Error,
    store::{
        epochs,
        leases::{self, StoredLease},
        ledger, prices, recalls,
    },
};

/// How long idle credit of other epochs is waited for.
const RECALL_WAIT: Duration = Duration::from_millis(200);
/// Between two looks, where the credit was freed by another replica of billing.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A router replica asks for credit.
#[derive(Clone, Copy)]
pub struct AcquireLease {
    /// The lease's id, made by the replica.
    pub lease_id: LeaseId,
    /// Whose credit.
    pub account_id: AccountId,
    /// Which life of the replica.
    pub epoch_id: EpochId,
    /// The least that is of use, in 10^-9 CNY.
    pub min_nanos: i64,
    /// What it would like, in 10^-9 CNY.
    pub want_nanos: i64,
}

impl App {
    /// Lends credit. When it is short, idle credit is recalled from other epochs and waited for.
    pub async fn acquire_lease(&self, command: AcquireLease) -> Result<StoredLease, Error> {
        match self.try_lease(&command).await {
            Err(Error::InsufficientBalance) => {}
            other => return other,
        }
        self.recall(command.account_id).await?;
        let deadline = Instant::now() + RECALL_WAIT;
        while Instant::now() < deadline {
            let freed = self.freed.notified();
            let _ = timeout(LOOK_AGAIN, freed).await;
            match self.try_lease(&command).await {
                Err(Error::InsufficientBalance) => {}
                other => return other,
            }
        }
        self.tell_exhausted(command.account_id).await?;
        Err(Error::InsufficientBalance)
    }

    async fn try_lease(&self, command: &AcquireLease) -> Result<StoredLease, Error> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if let Some(made) = leases::lock(&mut tx, command.lease_id).await? {
            let same = made.account_id == command.account_id && made.epoch_id == command.epoch_id;
            return if same { Ok(made) } else { Err(Error::NotFound) };
        }
        if !epochs::hold(&mut tx, command.epoch_id).await? {
            return Err(Error::EpochFenced);
        }
        let price_version = prices::in_force(&mut tx, now)
            .await?
            .ok_or(Error::NoPrices)?;
        let amount = self.grant(&mut tx, command).await?;
        let lease = StoredLease {
            lease_id: command.lease_id,
            account_id: command.account_id,
            epoch_id: command.epoch_id,
            price_version,
            lease: Lease::open(amount),
        };
        leases::insert(&mut tx, &lease, now).await?;
        let movement = Movement::lease(command.account_id, amount);
        ledger::book(
            &mut tx,
            self.ids.id(),
            movement,
            command.lease_id.uuid(),
            now,
        )
        .await?;
        tx.commit().await?;
        Ok(lease)
    }

    /// As much as is wanted and there, at least what is of use.
    async fn grant(&self, tx: &mut PgConnection, command: &AcquireLease) -> Result<i64, Error> {
        let account = LedgerAccount::Available(command.account_id);
        let available = ledger::lock_balance(tx, account).await?;
        if available < command.min_nanos {
            return Err(Error::InsufficientBalance);
        }
        Ok(command
            .want_nanos
            .clamp(command.min_nanos, available.max(command.min_nanos)))
    }

    /// Tells every replica, and through the table every other billing, that idle credit is wanted.
    async fn recall(&self, account_id: AccountId) -> Result<(), Error> {
        let mut connection = self.pool.acquire().await?;
        recalls::want(&mut connection, account_id).await?;
        // Nobody watching is fine: then nobody holds idle credit that could come back.
        let _ = self.recalls.send(account_id);
        Ok(())
    }

    async fn tell_exhausted(&self, account_id: AccountId) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        if recalls::tell_exhausted(&mut tx, account_id, self.clock.now()).await? {
            let event = BalanceExhausted {
                account_id: account_id.to_string(),
            };
            wanwu_events::publish(&mut tx, &self.ids, &event).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
