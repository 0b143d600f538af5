//! SQL, on the connection of the caller's transaction.

pub mod after_sales;
pub mod audit;
pub mod bank_lines;
pub mod bank_transfers;
pub mod calls;
pub mod chain;
pub mod checkpoints;
pub mod epochs;
pub mod invoices;
pub mod leases;
pub mod ledger;
pub mod money;
pub mod money_accesses;
pub mod orders;
pub mod payment_channels;
pub mod payment_shares;
pub mod payments;
pub mod prices;
pub mod products;
pub mod provider_bills;
pub mod recalls;
pub mod reconciliation;
pub mod refunds;
pub mod terminations;
