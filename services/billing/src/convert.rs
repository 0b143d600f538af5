//! Between the contract's types and ours.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use wanwu_proto::billing::v1::{
    self as pb, CallBill, ChargeLine, CreditedPayment, JsapiParameters, Order, OrderState,
    PaymentChannel, PaymentChannelState, PaymentProvider, Price, PriceList, PriceProposalState,
    PriceTier, StatementLine, statement_line::Cause,
};
use wanwu_tariff::{Line as Charge, Prices};

use crate::{
    domain::{
        money::{NANOS_PER_FEN, to_wire},
        payment_channel::Method,
        price,
    },
    store::{
        agreements::PinnedAgreement,
        calls::{Call, Line},
        leases::StoredLease,
        orders,
        payment_channels::Channel,
        payment_shares::PaymentShare,
        price_proposals::{self, PriceProposal},
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
        package_product: order.package_product.unwrap_or_default(),
        price_version: order.price_version.unwrap_or_default(),
        agreements: order.agreements.into_iter().map(Into::into).collect(),
        addendum: order.addendum.unwrap_or_default(),
        purchase_allowance_version: order.allowance_version.unwrap_or_default(),
        payment: order.payment.map(|payment| {
            let by = |channel: &&Channel| channel.method.provider() == payment.provider;
            let method = channels.iter().find(by).map(|channel| channel.method);
            CreditedPayment {
                provider: method.map_or(0, |method| PaymentProvider::from(method).into()),
                provider_transaction_id: payment.transaction_id,
                amount: Some(to_wire(payment.amount_fen * NANOS_PER_FEN)),
                pay_time: Some(timestamp(payment.paid_at)),
            }
        }),
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

impl From<PinnedAgreement> for pb::PinnedAgreement {
    fn from(pinned: PinnedAgreement) -> Self {
        Self {
            version_id: pinned.version_id.to_string(),
            agreement: pinned.agreement,
            number: pinned.number,
        }
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

/// A list on the wire, as it is published: the prices of the first tier, then those of the others.
#[must_use]
pub fn price_list(list: &price::PriceList) -> PriceList {
    let tiers = (1..=list.highest_tier()).zip(&list.tiers);
    PriceList {
        version: list.version,
        effective_time: Some(timestamp(list.effective_at)),
        prices: prices(named_in(list, 0)),
        tier: 0,
        tiers: tiers
            .map(|(tier, threshold)| PriceTier {
                tier,
                threshold_nanos: *threshold,
                prices: prices(named_in(list, tier)),
            })
            .collect(),
    }
}

/// A list on the wire, as a lease has it: the prices of one tier.
#[must_use]
pub fn price_snapshot(list: &price::PriceList, tier: i32) -> PriceList {
    PriceList {
        version: list.version,
        effective_time: Some(timestamp(list.effective_at)),
        prices: prices(list.models(tier)),
        tier,
        tiers: Vec::new(),
    }
}

fn named_in(list: &price::PriceList, tier: i32) -> impl Iterator<Item = (&str, &Prices)> {
    let all = list.prices.iter();
    all.filter(move |((_, at), _)| *at == tier)
        .map(|((model, _), prices)| (model.as_str(), prices))
}

fn prices<'a>(models: impl Iterator<Item = (&'a str, &'a Prices)>) -> Vec<Price> {
    let prices = models.flat_map(|(model, prices)| {
        prices.units().map(|(unit, nanos_per_unit)| Price {
            model: model.to_owned(),
            unit: unit.number(),
            nanos_per_unit,
        })
    });
    prices.collect()
}

impl From<PriceProposal> for pb::PriceProposal {
    fn from(proposal: PriceProposal) -> Self {
        let decided_by = proposal.decided_by.map(|id| id.to_string());
        Self {
            proposal_id: proposal.proposal_id.to_string(),
            state: match proposal.state {
                price_proposals::State::Proposed => PriceProposalState::Proposed,
                price_proposals::State::Published => PriceProposalState::Published,
                price_proposals::State::Refused => PriceProposalState::Refused,
            }
            .into(),
            price_list: Some(price_list(&proposal.list)),
            proposed_by: proposal.proposed_by.to_string(),
            decided_by: decided_by.unwrap_or_default(),
            propose_time: Some(timestamp(proposal.proposed_at)),
            decide_time: proposal.decided_at.map(timestamp),
        }
    }
}

/// Lines of a bill on the wire.
#[must_use]
pub fn charge_lines(charges: &[Charge]) -> Vec<ChargeLine> {
    let lines = charges.iter().map(|charge| ChargeLine {
        unit: charge.unit.number(),
        // A count that has an amount fits.
        count: i64::try_from(charge.count).unwrap_or(i64::MAX),
        priced_as: charge.priced_as.number(),
        nanos_per_unit: charge.nanos_per_unit,
        amount_nanos: charge.amount,
    });
    lines.collect()
}

/// The bill of a call on the wire, with its lines.
#[must_use]
pub fn call_bill(call: Call, charges: &[Charge]) -> CallBill {
    CallBill {
        call_id: call.call_id.to_string(),
        app_id: call.app_id.to_string(),
        key_id: call.key_id.to_string(),
        model: call.model,
        input_tokens: call.input_tokens,
        output_tokens: call.output_tokens,
        price_version: call.price_version,
        amount: Some(to_wire(call.amount_nanos)),
        usage_source: call.usage_source,
        lines: charge_lines(charges),
        price_tier: call.price_tier,
    }
}

/// A line of a statement on the wire.
#[must_use]
pub fn statement_line((line, charges): (Line, Vec<Charge>)) -> StatementLine {
    match line {
        Line::TopUp {
            order_id,
            amount_fen,
            paid_at,
        } => StatementLine {
            cause: Some(Cause::OrderId(order_id.to_string())),
            amount: Some(to_wire(amount_fen * NANOS_PER_FEN)),
            book_time: Some(timestamp(paid_at)),
        },
        Line::BankTransfer {
            bank_transfer_id,
            amount_fen,
            matched_at,
            ..
        } => StatementLine {
            cause: Some(Cause::BankTransferId(bank_transfer_id.to_string())),
            amount: Some(to_wire(amount_fen * NANOS_PER_FEN)),
            book_time: Some(timestamp(matched_at)),
        },
        Line::Call(call) => StatementLine {
            amount: Some(to_wire(-call.amount_nanos)),
            book_time: Some(timestamp(call.booked_at)),
            cause: Some(Cause::Call(call_bill(call, &charges))),
        },
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
