//! SQL, on the connection of the caller's transaction.

pub mod audit;
pub mod balance_alerts;
pub mod bank_lines;
pub mod bank_transfers;
pub mod budgets;
pub mod calls;
pub mod chain;
pub mod checkpoints;
pub mod epochs;
pub mod leases;
pub mod ledger;
pub mod orders;
pub mod packages;
pub mod payment_channels;
pub mod payment_shares;
pub mod payments;
pub mod price_proposals;
pub mod prices;
pub mod provider_bills;
pub mod recalls;
pub mod reconciliation;
pub mod refunds;
pub mod spending;
pub mod statements;
pub mod usage_days;
