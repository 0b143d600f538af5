//! What billing does: one use case a file. A command opens the transaction, lets the domain
//! decide, saves, books, writes the event and commits.

mod acquire_lease;
mod apply_payment;
mod close_lease;
mod create_top_up_order;
mod fence_epoch;
mod publish_price_lists;
mod query_unpaid_orders;
mod read_account;
mod receive_wechat_pay_callback;
mod reconcile_bill;
mod settle_usage;

pub use acquire_lease::AcquireLease;
pub use apply_payment::{Applied, PaymentRefused};
pub use close_lease::CloseLease;
pub use create_top_up_order::CreateTopUpOrder;
pub use publish_price_lists::PriceListError;
pub use receive_wechat_pay_callback::CallbackAnswer;
pub use reconcile_bill::{ReconcileBill, Reconciled};
pub use settle_usage::{SettleUsage, UsageRefused};
