//! What billing decides, without a database.

pub mod attribution;
pub mod bank_booking;
pub mod bank_matching;
pub mod bank_statement;
pub mod chain;
pub mod checkpoint;
pub mod invoice;
pub mod lease;
pub mod ledger;
pub mod model;
pub mod money;
pub mod order;
pub mod payment;
pub mod payment_channel;
pub mod price;
pub mod product;
pub mod provider_bill;
pub mod reconciliation;
pub mod refund;
pub mod termination;
