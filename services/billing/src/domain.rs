//! What billing decides, without a database.

pub mod lease;
pub mod ledger;
pub mod money;
pub mod order;
pub mod payment;
pub mod payment_channel;
pub mod price;
pub mod refund;
