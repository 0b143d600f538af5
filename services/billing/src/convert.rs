//! Between the contract's types and ours.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use wanwu_proto::billing::v1::{
    self as pb, CallBill, Order, OrderState, PaymentProvider, Price, PriceList, StatementLine,
    statement_line::Cause,
};

use crate::{
    domain::{
        money::{NANOS_PER_FEN, to_wire},
        price::{self, Unit},
    },
    store::{
        calls::{Call, Line},
        leases::StoredLease,
        orders,
    },
};

/// An instant on the wire.
#[must_use]
pub fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

impl From<orders::Order> for Order {
    fn from(order: orders::Order) -> Self {
        Self {
            order_id: order.order_id.to_string(),
            amount: Some(to_wire(order.amount_fen * NANOS_PER_FEN)),
            provider: PaymentProvider::WechatNative.into(),
            state: OrderState::from(order.state).into(),
            code_url: order.code_url,
            create_time: Some(timestamp(order.created_at)),
            expire_time: Some(timestamp(order.expires_at)),
            pay_time: order.paid_at.map(timestamp),
        }
    }
}

impl From<price::PriceList> for PriceList {
    fn from(list: price::PriceList) -> Self {
        let prices = list
            .prices
            .into_iter()
            .map(|((model, unit), nanos_per_unit)| Price {
                model,
                unit: match unit {
                    Unit::InputToken => pb::Unit::InputToken,
                    Unit::OutputToken => pb::Unit::OutputToken,
                }
                .into(),
                nanos_per_unit,
            });
        Self {
            version: list.version,
            effective_time: Some(timestamp(list.effective_at)),
            prices: prices.collect(),
        }
    }
}

impl From<Call> for CallBill {
    fn from(call: Call) -> Self {
        Self {
            call_id: call.call_id.to_string(),
            app_id: call.app_id.to_string(),
            key_id: call.key_id.to_string(),
            model: call.model,
            input_tokens: call.input_tokens,
            output_tokens: call.output_tokens,
            price_version: call.price_version,
            amount: Some(to_wire(call.amount_nanos)),
            usage_source: call.usage_source,
        }
    }
}

impl From<Line> for StatementLine {
    fn from(line: Line) -> Self {
        match line {
            Line::TopUp {
                order_id,
                amount_fen,
                paid_at,
            } => Self {
                cause: Some(Cause::OrderId(order_id.to_string())),
                amount: Some(to_wire(amount_fen * NANOS_PER_FEN)),
                book_time: Some(timestamp(paid_at)),
            },
            Line::BankTransfer {
                bank_transfer_id,
                amount_fen,
                matched_at,
                ..
            } => Self {
                cause: Some(Cause::BankTransferId(bank_transfer_id.to_string())),
                amount: Some(to_wire(amount_fen * NANOS_PER_FEN)),
                book_time: Some(timestamp(matched_at)),
            },
            Line::Call(call) => Self {
                amount: Some(to_wire(-call.amount_nanos)),
                book_time: Some(timestamp(call.booked_at)),
                cause: Some(Cause::Call(call.into())),
            },
        }
    }
}

impl From<StoredLease> for pb::Lease {
    fn from(stored: StoredLease) -> Self {
        Self {
            lease_id: stored.lease_id.to_string(),
            account_id: stored.account_id.to_string(),
            epoch_id: stored.epoch_id.to_string(),
            amount_nanos: stored.lease.amount,
        }
    }
}
