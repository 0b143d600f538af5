//! What billing does: one use case a file. A command opens the transaction, lets the domain
//! decide, saves, books, writes the event and commits.

mod acquire_lease;
mod add_payment_channel;
mod apply_payment;
mod callback_answer;
mod cancel_order;
mod close_lease;
mod create_top_up_order;
mod decide_refund;
mod fence_epoch;
mod publish_price_lists;
mod query_unpaid_orders;
mod read_account;
mod receive_alipay_callback;
mod receive_wechat_pay_callback;
mod reconcile_bill;
mod reduce_lease;
mod request_refund;
mod send_refunds;
mod settle_usage;

pub use acquire_lease::AcquireLease;
pub use apply_payment::PaymentRefused;
pub use callback_answer::CallbackAnswer;
pub use close_lease::CloseLease;
pub use create_top_up_order::CreateTopUpOrder;
pub use publish_price_lists::PriceListError;
pub use reconcile_bill::{ReconcileBill, Reconciled};
pub use reduce_lease::ReduceLease;
pub use request_refund::RequestRefund;
pub use settle_usage::{SettleUsage, UsageRefused};
