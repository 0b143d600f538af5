//! Between the contract's types and ours.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use wanwu_proto::billing::v1::{
    self as pb, CallBill, JsapiParameters, Order, OrderState, PaymentChannel, PaymentChannelState,
    PaymentProvider, Price, PriceList, StatementLine, statement_line::Cause,
};

use crate::{
    domain::{
        money::{NANOS_PER_FEN, to_wire},
        payment_channel::Method,
        price::{self, Unit},
    },
    store::{
        calls::{Call, Line},
        leases::StoredLease,
        orders,
        payment_channels::Channel,
        payment_shares::PaymentShare,
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
        code_url: first.map_or_else(String::new, |channel| opened(channel).0),
        create_time: Some(timestamp(order.created_at)),
        expire_time: Some(timestamp(order.expires_at)),
        pay_time: order.paid_at.map(timestamp),
        channels: channels
            .into_iter()
            .map(|channel| {
                let (code_url, jsapi) = opened(&channel);
                PaymentChannel {
                    provider: PaymentProvider::from(channel.method).into(),
                    state: PaymentChannelState::from(channel.state).into(),
                    code_url,
                    jsapi,
                }
            })
            .collect(),
    }
}

/// What the payer scans or opens, or what a page inside WeChat hands to WeChat.
fn opened(channel: &Channel) -> (String, Option<JsapiParameters>) {
    if channel.method != Method::WechatJsapi {
        return (channel.code_url.clone(), None);
    }
    let parameters: Option<HashMap<String, String>> = serde_json::from_str(&channel.code_url).ok();
    let jsapi = parameters.map(|mut parameters| {
        let mut take = |name: &str| parameters.remove(name).unwrap_or_default();
        JsapiParameters {
            app_id: take("appId"),
            time_stamp: take("timeStamp"),
            nonce_str: take("nonceStr"),
            package: take("package"),
            sign_type: take("signType"),
            pay_sign: take("paySign"),
        }
    });
    (String::new(), jsapi)
}

impl From<PaymentShare> for pb::PaymentShare {
    fn from(share: PaymentShare) -> Self {
        Self {
            recipient: share.recipient,
            purpose: share.purpose,
            fields: share.fields,
            share_time: Some(timestamp(share.shared_at)),
        }
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
