use futures::StreamExt;
use wanwu_ids::OrderId;

use super::apply_payment::PaymentRefused;
use crate::{
    app::App,
    domain::{
        order::Event,
        payment::Provider,
        payment_channel::{Said, next_query},
    },
    error::Error,
    providers::Trade,
    store::{
        orders::{self, Order},
        payment_channels::{self, Channel},
    },
};

/// Orders that are asked about at the same time.
const AT_ONCE: usize = 8;

impl App {
    /// Asks the providers about every unpaid channel whose time has come: what a callback did not
    /// tell, a query finds. Answers how many were asked about.
    pub async fn query_unpaid_orders(&self) -> Result<usize, Error> {
        let mut connection = self.pool.acquire().await?;
        let due = payment_channels::due(&mut connection, self.now(), 100).await?;
        drop(connection);
        let found = due.len();
        // Several at once: an answer that takes its 5 s holds up few.
        futures::stream::iter(due)
            .for_each_concurrent(AT_ONCE, |(order_id, provider)| async move {
                if let Err(error) = self.query_channel(order_id, provider).await {
                    tracing::warn!(order.id = %order_id, error = &error as &dyn std::error::Error,
                        "an order could not be asked about; it will be again");
                }
            })
            .await;
        Ok(found)
    }

    /// Asks a provider about an order, closes it there when nobody is to pay any more, and does
    /// what the answers say.
    pub(super) async fn query_channel(
        &self,
        id: OrderId,
        provider: Provider,
    ) -> Result<(), PaymentRefused> {
        let Some((channel, over)) = self.start_query(id, provider).await? else {
            return Ok(());
        };
        let provider = self.providers.get(provider)?;
        let mut trade = provider.query(id).await.map_err(Error::from)?;
        if over && trade == Trade::Payable {
            provider.close(id).await.map_err(Error::from)?;
            // Only what a query says then is believed: paid at the last moment, or closed.
            trade = provider.query(id).await.map_err(Error::from)?;
        }
        match trade {
            Trade::Paid(payment) => self.apply_payment(&payment).await.map(drop),
            Trade::Payable => Ok(()),
            Trade::Closed if over => Ok(self.give_up(&channel, Said::Closed).await?),
            Trade::Unknown { proved } if over => {
                Ok(self.give_up(&channel, Said::Unknown { proved }).await?)
            }
            // The provider ended it early: it expires in its time.
            Trade::Closed | Trade::Unknown { .. } => Ok(()),
        }
    }

    /// Counts a query before it is made; says also whether nobody is to pay any more.
    async fn start_query(
        &self,
        id: OrderId,
        provider: Provider,
    ) -> Result<Option<(Channel, bool)>, Error> {
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        let Some(order) = orders::lock(&mut tx, id).await? else {
            return Ok(None);
        };
        let Some(mut channel) = channel_of(&mut tx, id, provider).await? else {
            return Ok(None);
        };
        if !channel.state.is_asked() || channel.query_after > now {
            return Ok(None);
        }
        channel.queries += 1;
        channel.query_after = next_query(now, channel.queries, now - order.expires_at);
        payment_channels::save(&mut tx, &channel).await?;
        tx.commit().await?;
        Ok(Some((channel, is_over(&order, now))))
    }

    /// Ends a channel at which nobody can pay any more, and the order when it was the last one.
    async fn give_up(&self, channel: &Channel, said: Said) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        let mut order = orders::lock(&mut tx, channel.order_id)
            .await?
            .ok_or(Error::NotFound)?;
        let mut channels = payment_channels::of_orders(&mut tx, &[channel.order_id]).await?;
        let mut all_over = true;
        for known in &mut channels {
            if known.method.provider() == channel.method.provider() {
                known.state = known.state.after(said, Some(now - order.expires_at));
                payment_channels::save(&mut tx, known).await?;
            }
            all_over &= known.state.is_over();
        }
        let before = order.state;
        if all_over {
            order.state = before.after(Event::ClosedUnpaid).0;
            orders::save(&mut tx, &order).await?;
        }
        tx.commit().await?;
        if order.state != before {
            let state = order.state.as_str();
            metrics::counter!("wanwu_orders_ended_total", "state" => state).increment(1);
        }
        Ok(())
    }
}

fn is_over(order: &Order, now: chrono::DateTime<chrono::Utc>) -> bool {
    !order.state.is_payable() || now >= order.expires_at
}

async fn channel_of(
    tx: &mut sqlx::PgConnection,
    id: OrderId,
    provider: Provider,
) -> sqlx::Result<Option<Channel>> {
    let channels = payment_channels::of_orders(tx, &[id]).await?;
    Ok(channels
        .into_iter()
        .find(|channel| channel.method.provider() == provider))
}
