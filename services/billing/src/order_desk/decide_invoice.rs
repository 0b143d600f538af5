use sqlx::PgConnection;
use uuid::Uuid;
use wanwu_ids::{AccountId, OperatorId, OrderId};
use wanwu_postgres::violates;

use super::OrderDesk;
use crate::{
    app::App,
    domain::invoice::{Event, State},
    error::Error,
    store::{
        invoices::{self, Invoice},
        orders,
    },
};

impl OrderDesk {
    /// The customer does not want it any more.
    pub async fn withdraw_invoice(
        &self,
        account_id: AccountId,
        id: Uuid,
    ) -> Result<Invoice, Error> {
        let whose = |invoice: &Invoice| invoice.account_id == account_id;
        self.change(id, Event::Withdraw, whose, |_| {}).await
    }

    /// Finance cannot issue it.
    pub async fn refuse_invoice(
        &self,
        operator_id: OperatorId,
        id: Uuid,
    ) -> Result<Invoice, Error> {
        let decide = |invoice: &mut Invoice| invoice.decided_by = Some(operator_id);
        self.change(id, Event::Refuse, |_| true, decide).await
    }

    /// Finance issued it at the tax office's platform under this number.
    pub async fn issue_invoice(
        &self,
        operator_id: OperatorId,
        id: Uuid,
        number: String,
    ) -> Result<Invoice, Error> {
        let now = self.app.now();
        let decide = |invoice: &mut Invoice| {
            invoice.decided_by = Some(operator_id);
            invoice.number = Some(number);
            invoice.issued_at = Some(now);
        };
        self.change(id, Event::Issue, |_| true, decide).await
    }

    /// Finance took it back by a red one with this number.
    pub async fn reverse_invoice(
        &self,
        operator_id: OperatorId,
        id: Uuid,
        red_number: String,
    ) -> Result<Invoice, Error> {
        let decide = |invoice: &mut Invoice| {
            invoice.decided_by = Some(operator_id);
            invoice.red_number = Some(red_number);
        };
        self.change(id, Event::Reverse, |_| true, decide).await
    }

    async fn change(
        &self,
        id: Uuid,
        event: Event,
        may: impl Fn(&Invoice) -> bool,
        decide: impl FnOnce(&mut Invoice),
    ) -> Result<Invoice, Error> {
        let mut tx = self.app.pool.begin().await?;
        let known = invoices::find(&mut tx, id).await?.filter(|it| may(it));
        let known = known.ok_or(Error::NotFound)?;
        // Whoever changes it holds its order.
        orders::lock(&mut tx, known.order_id).await?;
        let invoice = invoices::find(&mut tx, id).await?;
        let mut invoice = invoice.ok_or(Error::NotFound)?;
        invoice.state = invoice.state.after(event).ok_or(Error::InvoiceState)?;
        if !invoice.state.counts() {
            invoice.ended_at = Some(self.app.now());
        }
        decide(&mut invoice);
        let saved = invoices::save(&mut tx, &invoice).await;
        saved.map_err(|error| {
            let taken = ["invoices_number_key", "invoices_red_number_key"];
            match taken.iter().any(|name| violates(&error, name)) {
                true => Error::InvoiceNumberTaken,
                false => error.into(),
            }
        })?;
        tx.commit().await?;
        Ok(invoice)
    }
}

impl App {
    /// Money of an order goes back: what was issued wants a red one, what was requested is over.
    pub(crate) async fn reverse_invoices(
        &self,
        tx: &mut PgConnection,
        order_id: OrderId,
    ) -> sqlx::Result<()> {
        for mut invoice in invoices::of_order(tx, order_id).await? {
            let Some(state) = invoice.state.after(Event::MoneyGoesBack) else {
                continue;
            };
            if state == State::Refused {
                invoice.ended_at = Some(self.now());
            }
            invoice.state = state;
            invoices::save(tx, &invoice).await?;
        }
        Ok(())
    }
}
