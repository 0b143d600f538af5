use sqlx::PgConnection;
use wanwu_ids::{AccountId, OrderId};

use crate::{
    app::App,
    domain::{
        order::Event,
        payment_channel::{Method, Said, State, next_query},
    },
    error::Error,
    providers::{Offer, Payer},
    store::{
        orders::{self, Order},
        payment_channels::{self, Channel},
        products,
    },
};

impl App {
    /// Offers an unpaid order through another provider too. The channel commits before the
    /// provider is asked, so that whatever is paid there has a place. A minor's order must still be
    /// what a guardian allows (obligation T3.3.1c).
    pub async fn add_payment_channel(
        &self,
        account_id: AccountId,
        id: OrderId,
        method: Method,
        payer: &Payer,
    ) -> Result<(Order, Vec<Channel>), Error> {
        self.providers.get(method.provider())?;
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        let order = orders::lock(&mut tx, id).await?;
        let order = order
            .filter(|order| order.account_id == account_id)
            .ok_or(Error::NotFound)?;
        let channels = payment_channels::of_orders(&mut tx, &[id]).await?;
        let there = channels
            .iter()
            .any(|channel| channel.method.provider() == method.provider());
        if !there {
            if !order.state.is_payable() || now >= order.expires_at {
                return Err(Error::OrderNotPayable);
            }
            if order.allowance_version.is_some() {
                self.allowance_of(&mut tx, account_id, order.amount_fen, Some(id))
                    .await?;
            }
            let channel = Channel {
                order_id: id,
                method,
                state: State::Created,
                code_url: String::new(),
                query_after: next_query(now, 0, now - order.expires_at),
                queries: 0,
                created_at: now,
            };
            payment_channels::insert(&mut tx, &channel).await?;
            tx.commit().await?;
        }
        self.open_channel(&order, method, payer).await?;
        self.order(account_id, id).await
    }

    /// Asks the provider for what the payer scans or opens, unless it answered before or the
    /// order is over.
    pub(crate) async fn open_channel(
        &self,
        order: &Order,
        method: Method,
        payer: &Payer,
    ) -> Result<(), Error> {
        let Some((order, channel)) = self.channel(order.order_id, method).await? else {
            return Ok(());
        };
        if !order.state.is_payable() || channel.state != State::Created {
            return Ok(());
        }
        let provider = self.providers.get(method.provider())?;
        let mut connection = self.pool.acquire().await?;
        self.share_offer(&mut connection, &order, channel.method)
            .await?;
        let title = self.title(&mut connection, &order).await?;
        drop(connection);
        let offer = Offer::of(&order, title);
        let code_url = provider.offer(&offer, channel.method, payer).await?;
        wanwu_crash::point("channel.offered");
        let mut tx = self.pool.begin().await?;
        let mut order = orders::lock(&mut tx, order.order_id)
            .await?
            .ok_or(Error::NotFound)?;
        let channels = payment_channels::of_orders(&mut tx, &[order.order_id]).await?;
        let channel = channels
            .into_iter()
            .find(|channel| channel.method.provider() == method.provider());
        // Paid or closed meanwhile: that stays.
        if let Some(mut channel) = channel {
            channel.state = channel.state.after(Said::Opened, None);
            channel.code_url = code_url;
            payment_channels::save(&mut tx, &channel).await?;
        }
        order.state = order.state.after(Event::ChannelOpened).0;
        orders::save(&mut tx, &order).await?;
        wanwu_crash::point("channel.before_commit");
        tx.commit().await?;
        wanwu_crash::point("channel.committed");
        Ok(())
    }

    /// What the payer of a product reads; `None`: of a top-up.
    async fn title(
        &self,
        connection: &mut PgConnection,
        order: &Order,
    ) -> sqlx::Result<Option<String>> {
        let Some(item) = products::find_item(connection, order.order_id).await? else {
            return Ok(None);
        };
        let catalogue = products::find_catalogue(connection, item.catalogue_version).await?;
        let product = catalogue
            .as_ref()
            .and_then(|it| it.product(&item.product_id));
        Ok(product.map(|product| product.title.clone()))
    }

    async fn channel(
        &self,
        id: OrderId,
        method: Method,
    ) -> Result<Option<(Order, Channel)>, Error> {
        let mut connection = self.pool.acquire().await?;
        let order = orders::find(&mut connection, id).await?;
        let channels = payment_channels::of_orders(&mut connection, &[id]).await?;
        let channel = channels
            .into_iter()
            .find(|channel| channel.method.provider() == method.provider());
        Ok(order.zip(channel))
    }
}
