//! What billing decides, without a database.

pub mod attribution;
pub mod bank_booking;
pub mod bank_matching;
pub mod bank_statement;
pub mod budget;
pub mod calendar;
pub mod chain;
pub mod checkpoint;
pub mod funding;
pub mod invoice;
pub mod lease;
pub mod ledger;
pub mod model;
pub mod money;
pub mod monthly_statement;
pub mod order;
pub mod package;
pub mod package_booking;
pub mod payment;
pub mod payment_channel;
pub mod price;
pub mod product;
pub mod provider_bill;
pub mod reconciliation;
pub mod refund;
pub mod termination;
