//! What billing does: one use case a file. A command opens the transaction, lets the domain
//! decide, saves, books, writes the event and commits.

mod acquire_lease;
mod add_payment_channel;
mod apply_payment;
mod balance_alerts;
mod budgets;
mod callback_answer;
mod cancel_order;
mod close_lease;
mod create_top_up_order;
mod decide_price_list;
mod decide_refund;
mod fence_epoch;
mod fetch_bills;
mod free_lease;
mod packages;
mod propose_price_list;
mod publish_packages;
mod publish_price_lists;
mod query_unpaid_orders;
mod quote_call;
mod read_account;
mod receive_alipay_callback;
mod receive_wechat_pay_callback;
mod reconcile_bill;
mod reduce_lease;
mod request_refund;
mod send_refunds;
mod settle_usage;
mod share_with_provider;

pub use acquire_lease::{AcquireLease, Acquired, Wanting};
pub use apply_payment::PaymentRefused;
pub use budgets::BudgetNow;
pub use callback_answer::CallbackAnswer;
pub use close_lease::CloseLease;
pub use create_top_up_order::CreateTopUpOrder;
pub use packages::GrantPackage;
pub use propose_price_list::ProposePriceList;
pub use publish_packages::PackageError;
pub use publish_price_lists::PriceListError;
pub use quote_call::{Quote, QuoteCall};
pub use reconcile_bill::{ReconcileBill, Reconciled};
pub use reduce_lease::ReduceLease;
pub use request_refund::RequestRefund;
pub use settle_usage::{SettleUsage, UsageRefused};
