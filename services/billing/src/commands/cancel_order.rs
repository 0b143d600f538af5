use wanwu_ids::{AccountId, OrderId};

use crate::{
    app::App,
    domain::order::{Event, State},
    error::Error,
    store::{
        orders::{self, Order},
        payment_channels::{self, Channel},
    },
};

impl App {
    /// Closes an unpaid order at its providers first, then here. A provider that cannot be reached
    /// is asked again in the background until it confirms.
    pub async fn cancel_order(
        &self,
        account_id: AccountId,
        id: OrderId,
    ) -> Result<(Order, Vec<Channel>), Error> {
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        let order = orders::lock(&mut tx, id).await?;
        let mut order = order
            .filter(|order| order.account_id == account_id)
            .ok_or(Error::NotFound)?;
        if order.state == State::Expired {
            return Err(Error::OrderNotPayable);
        }
        order.state = order.state.after(Event::CancelAsked).0;
        orders::save(&mut tx, &order).await?;
        let channels = payment_channels::of_orders(&mut tx, &[id]).await?;
        if order.state == State::Cancelling {
            payment_channels::hurry(&mut tx, id, now).await?;
        }
        tx.commit().await?;
        if order.state == State::Cancelling {
            for channel in channels {
                let provider = channel.method.provider();
                if let Err(error) = self.query_channel(id, provider).await {
                    tracing::warn!(order.id = %id, error = &error as &dyn std::error::Error,
                        "an order could not be closed at its provider; it will be tried again");
                }
            }
        }
        self.order(account_id, id).await
    }
}
