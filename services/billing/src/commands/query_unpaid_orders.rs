use futures::StreamExt;
use wanwu_ids::OrderId;

use super::apply_payment::PaymentRefused;
use crate::{
    app::App,
    domain::order::{Event, State, next_query},
    error::Error,
    providers::wechat_pay::{Transaction, WechatPayError},
    store::orders::{self, Order},
};

/// Orders that are asked about at the same time.
const AT_ONCE: usize = 8;

impl App {
    /// Asks the provider about every unpaid order whose time has come: what a callback did not
    /// tell, a query finds. Answers how many were asked about.
    pub async fn query_unpaid_orders(&self) -> Result<usize, Error> {
        let mut connection = self.pool.acquire().await?;
        let due = orders::due(&mut connection, self.now(), 100).await?;
        drop(connection);
        let found = due.len();
        // Several at once: an answer that takes its 5 s holds up few.
        futures::stream::iter(due)
            .for_each_concurrent(AT_ONCE, |order_id| async move {
                if let Err(error) = self.query_order(order_id).await {
                    tracing::warn!(order.id = %order_id, error = &error as &dyn std::error::Error,
                        "an order could not be asked about; it will be again");
                }
            })
            .await;
        Ok(found)
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
            // The order never reached the provider: nobody can have paid it. A refusal is not
            // signed, so the connection is its proof; were it wrong, the notice would still credit.
            Err(error) if error.is_unknown_order() => self.give_up(&order, "CLOSED").await,
            Err(error) => Err(Error::from(error).into()),
        }
    }

    /// Counts a query before it is made.
    async fn start_query(&self, order_id: OrderId) -> Result<Option<Order>, Error> {
        let now = self.now();
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
        if self.now() < order.expires_at {
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
        let before = order.state;
        order.state = before.after(Event::ClosedUnpaid).0;
        if order.state == before {
            return Ok(());
        }
        orders::save(&mut tx, &order).await?;
        tx.commit().await?;
        metrics::counter!("wanwu_orders_ended_total", "state" => order.state.as_str()).increment(1);
        Ok(())
    }
}
