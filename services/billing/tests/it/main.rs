//! Billing on a real PostgreSQL and a real RabbitMQ, against a payment provider that really signs
//! and verifies.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::result_large_err,
    reason = "an HTTP answer is the error of a handler"
)]

mod after_sales;
mod alipay;
mod alipay_certificates;
mod audits;
mod balance_alerts;
mod bank_transfers;
mod bills;
mod brand;
mod broker;
mod budgets;
mod callbacks;
mod cancellations;
mod certificates;
mod channels;
mod configuration;
mod credit_dues;
mod credit_limits;
mod epochs;
mod invoices;
mod leases;
mod ledger;
mod minors;
mod money_questions;
mod monthly_statements;
mod notices;
mod orders;
mod package_refunds;
mod packages;
mod pages;
mod price_proposals;
mod prices;
mod products;
mod queries;
mod recalls;
mod reconciliation;
mod refunds;
mod retention;
mod statements;
mod tariffs;
mod terminations;
mod usage_reports;
mod usages;
mod wechat_pay;
mod world;
