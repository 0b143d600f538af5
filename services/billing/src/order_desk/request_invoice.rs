use uuid::Uuid;
use wanwu_ids::{AccountId, OrderId, RequestId};
use wanwu_postgres::{
    requests::{self, BodyMac, Claim, RequestKey},
    violates,
};

use super::{Buyer, OrderDesk, aad};
use crate::{
    domain::invoice::{Kind, State},
    error::Error,
    store::{
        invoices::{self, Invoice},
        orders, payments, refunds,
    },
};

/// A customer wants a fapiao.
pub struct RequestInvoice {
    /// Who.
    pub account_id: AccountId,
    /// Names the request, for ever.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// Of which order.
    pub order_id: OrderId,
    /// Which kind.
    pub kind: Kind,
    /// In fen.
    pub amount_fen: i64,
    /// What stands on it.
    pub buyer: Buyer,
}

impl OrderDesk {
    /// Writes the request. All of an order together never ask for more than was paid and not given
    /// back.
    pub async fn request_invoice(&self, command: RequestInvoice) -> Result<Invoice, Error> {
        let now = self.app.now();
        let id: Uuid = self.app.ids.id::<()>().uuid();
        let mut tx = self.app.pool.begin().await?;
        let caller = format!("account:{}", command.account_id);
        let key = RequestKey {
            method: "wanwu.billing.v1.InvoiceService/RequestInvoice",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        if let Claim::Repeated(made) =
            requests::claim(&mut tx, key, command.body, id, now, None).await?
        {
            return invoices::find(&mut tx, made).await?.ok_or(Error::NotFound);
        }
        let order = orders::lock(&mut tx, command.order_id).await?;
        let order = order.filter(|order| order.account_id == command.account_id);
        let order = order.ok_or(Error::NotFound)?;
        let credited = payments::credited(&mut tx, order.order_id).await?;
        let (provider, transaction_id, paid_fen) = credited.ok_or(Error::NotFound)?;
        let back = refunds::sum_of_payment(&mut tx, provider, &transaction_id).await?;
        let known = invoices::of_order(&mut tx, order.order_id).await?;
        let counted = known.iter().filter(|invoice| invoice.state.counts());
        let invoiced: i64 = counted.map(|invoice| invoice.amount_fen).sum();
        if command.amount_fen > paid_fen - back - invoiced {
            return Err(Error::InvoiceTooLarge);
        }
        let (row, text) = (id.to_string(), command.buyer.to_stored());
        let buyer_sealed = self
            .seal(
                &mut tx,
                command.account_id,
                aad("invoices", "buyer", &row),
                &text,
            )
            .await?;
        let invoice = Invoice {
            invoice_id: id,
            order_id: order.order_id,
            account_id: command.account_id,
            kind: command.kind,
            amount_fen: command.amount_fen,
            state: State::Requested,
            number: None,
            red_number: None,
            buyer_sealed,
            requested_at: now,
            decided_by: None,
            issued_at: None,
            ended_at: None,
        };
        let inserted = invoices::insert(&mut tx, &invoice).await;
        inserted.map_err(
            |error| match violates(&error, "invoices_at_most_paid_check") {
                true => Error::InvoiceTooLarge,
                false => error.into(),
            },
        )?;
        tx.commit().await?;
        Ok(invoice)
    }
}
