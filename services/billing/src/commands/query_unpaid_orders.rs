use wanwu_ids::OrderId;

use super::apply_payment::PaymentRefused;
use crate::{
    app::App,
    domain::order::{Event, State, next_query},
    error::Error,
    providers::wechat_pay::{Transaction, WechatPayError},
    store::orders::{self, Order},
};

impl App {
    /// Asks the provider about every unpaid order whose time has come: what a callback did not
    /// tell, a query finds. Answers how many were asked about.
    pub async fn query_unpaid_orders(&self) -> Result<usize, Error> {
        let mut connection = self.pool.acquire().await?;
        let due = orders::due(&mut connection, self.clock.now(), 100).await?;
        drop(connection);
        for order_id in &due {
            if let Err(error) = self.query_order(*order_id).await {
                tracing::warn!(order.id = %order_id, error = &error as &dyn std::error::Error,
                    "an order could not be asked about; it will be again");
            }
        }
        Ok(due.len())
    }

    async fn query_order(&self, order_id: OrderId) -> Result<(), PaymentRefused> {
        let Some(order) = self.start_query(order_id).await? else {
            return Ok(());
        };
        match self.wechat.query(&order).await {
            Ok(transaction) if transaction.trade_state == "SUCCESS" => {
                self.apply_payment(&transaction).await.map(drop)
            }
            Ok(transaction) => self.give_up(&order, &transaction.trade_state).await,
            // The order never reached the provider: nobody can have paid it.
            Err(error) if error.is_unknown_order() => self.give_up(&order, "CLOSED").await,
            Err(error) => Err(Error::from(error).into()),
        }
    }

    /// Counts a query before it is made.
    async fn start_query(&self, order_id: OrderId) -> Result<Option<Order>, Error> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let Some(mut order) = orders::lock(&mut tx, order_id).await? else {
            return Ok(None);
        };
        let unpaid = matches!(order.state, State::Created | State::AwaitingPayment);
        if !unpaid || order.query_after > now {
            return Ok(None);
        }
        order.queries += 1;
        order.query_after = next_query(now, order.queries);
        orders::save(&mut tx, &order).await?;
        tx.commit().await?;
        Ok(Some(order))
    }

    /// After its time an unpaid order is closed at the provider; only when the provider says that
    /// it is closed does it expire here.
    async fn give_up(&self, order: &Order, trade_state: &str) -> Result<(), PaymentRefused> {
        if self.clock.now() < order.expires_at {
            return Ok(());
        }
        if trade_state != "CLOSED" {
            match self.wechat.close(order).await {
                Ok(()) => {}
                // Paid at the last moment: the next query finds it.
                Err(error) if error.is_paid() => return Ok(()),
                Err(error) => return Err(Error::from(error).into()),
            }
            let said: Result<Transaction, WechatPayError> = self.wechat.query(order).await;
            match said {
                Ok(transaction) if transaction.trade_state == "SUCCESS" => {
                    return self.apply_payment(&transaction).await.map(drop);
                }
                Ok(transaction) if transaction.trade_state != "CLOSED" => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(Error::from(error).into()),
            }
        }
        let mut tx = self.pool.begin().await?;
        let mut order = orders::lock(&mut tx, order.order_id)
            .await?
            .ok_or(PaymentRefused::Order)?;
        order.state = order.state.after(Event::ClosedUnpaid).0;
        orders::save(&mut tx, &order).await?;
        tx.commit().await?;
        Ok(())
    }
}
