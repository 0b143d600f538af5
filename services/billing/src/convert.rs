//! Between the contract's types and ours.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use wanwu_proto::billing::v1::{
    self as pb, CallBill, Order, OrderState, PaymentChannel, PaymentChannelState, PaymentProvider,
    Price, PriceList, StatementLine, statement_line::Cause,
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
        payment_channels::Channel,
        refunds::Refund,
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

/// An order and its channels on the wire.
#[must_use]
pub fn order((order, channels): (orders::Order, Vec<Channel>)) -> Order {
    let first = channels
        .iter()
        .find(|channel| channel.method == order.method);
    Order {
        order_id: order.order_id.to_string(),
        amount: Some(to_wire(order.amount_fen * NANOS_PER_FEN)),
        provider: PaymentProvider::from(order.method).into(),
        state: OrderState::from(order.state).into(),
        code_url: first.map_or_else(String::new, |channel| channel.code_url.clone()),
        create_time: Some(timestamp(order.created_at)),
        expire_time: Some(timestamp(order.expires_at)),
        pay_time: order.paid_at.map(timestamp),
        package_product: order.package_product.unwrap_or_default(),
        channels: channels
            .into_iter()
            .map(|channel| PaymentChannel {
                provider: PaymentProvider::from(channel.method).into(),
                state: PaymentChannelState::from(channel.state).into(),
                code_url: channel.code_url,
            })
            .collect(),
    }
}

impl From<Refund> for pb::Refund {
    fn from(refund: Refund) -> Self {
        let request = refund.request;
        let requested_by = request.as_ref().map(|request| request.requested_by);
        let (case_id, evidence_sha256) = request
            .map(|request| (request.case_id, request.sha256))
            .unwrap_or_default();
        Self {
            refund_id: refund.refund_id.to_string(),
            order_id: refund.order_id.to_string(),
            amount: Some(to_wire(refund.amount_fen * NANOS_PER_FEN)),
            reason: pb::RefundReason::from(refund.reason).into(),
            state: pb::RefundState::from(refund.state).into(),
            case_id,
            evidence_sha256,
            requested_by: requested_by.map(|id| id.to_string()).unwrap_or_default(),
            decided_by: refund
                .decided_by
                .map(|id| id.to_string())
                .unwrap_or_default(),
            request_time: Some(timestamp(refund.requested_at)),
            end_time: refund.ended_at.map(timestamp),
            provider_state: refund.provider_state,
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

/// An id that may be absent.
#[must_use]
pub fn text<K>(id: Option<wanwu_ids::Id<K>>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

impl From<StoredLease> for pb::Lease {
    fn from(stored: StoredLease) -> Self {
        Self {
            lease_id: stored.lease_id.to_string(),
            account_id: stored.account_id.to_string(),
            epoch_id: stored.epoch_id.to_string(),
            amount_nanos: stored.lease.amount,
            models: stored.scope.models.unwrap_or_default(),
            app_id: text(stored.scope.app_id),
            key_id: text(stored.scope.key_id),
        }
    }
}
