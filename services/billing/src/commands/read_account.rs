use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use wanwu_ids::{AccountId, CallId, OrderId};
use wanwu_postgres::page::{Page, PageRequest};
use wanwu_tariff::Line as Charge;

use crate::{
    app::App,
    domain::price::PriceList,
    error::Error,
    store::{
        audit::{self, Audit},
        calls::{self, Call, Line, Position},
        ledger,
        orders::{self, Order},
        packages,
        payment_channels::{self, Channel},
        prices,
        usage_days::{self, Group, Question, Usage},
    },
};

impl App {
    /// What an account can spend and what is lent to replicas, in 10^-9 CNY.
    pub async fn balance(&self, account_id: AccountId) -> Result<(i64, i64), Error> {
        let mut connection = self.pool.acquire().await?;
        Ok(ledger::balances(&mut connection, account_id).await?)
    }

    /// What is free in an account's packages, in 10^-9 CNY.
    pub async fn free_in_packages(&self, account_id: AccountId) -> Result<i64, Error> {
        let mut connection = self.pool.acquire().await?;
        Ok(packages::free(&mut connection, account_id, self.now()).await?)
    }

    /// The account's order and its channels.
    pub async fn order(
        &self,
        account_id: AccountId,
        id: OrderId,
    ) -> Result<(Order, Vec<Channel>), Error> {
        let mut connection = self.pool.acquire().await?;
        let order = orders::find(&mut connection, id)
            .await?
            .filter(|order| order.account_id == account_id)
            .ok_or(Error::NotFound)?;
        let channels = payment_channels::of_orders(&mut connection, &[id]).await?;
        Ok((order, channels))
    }

    /// The account's orders, newest first.
    pub async fn orders(
        &self,
        account_id: AccountId,
        page: &PageRequest<OrderId>,
    ) -> Result<Page<(Order, Vec<Channel>)>, Error> {
        let mut connection = self.pool.acquire().await?;
        let orders = orders::list(&mut connection, account_id, page.after, page.limit()).await?;
        let ids: Vec<_> = orders.iter().map(|order| order.order_id).collect();
        let mut channels = HashMap::<OrderId, Vec<Channel>>::new();
        for channel in payment_channels::of_orders(&mut connection, &ids).await? {
            channels.entry(channel.order_id).or_default().push(channel);
        }
        let rows = orders.into_iter().map(|order| {
            let channels = channels.remove(&order.order_id).unwrap_or_default();
            (order, channels)
        });
        Ok(page.page(rows.collect(), |(order, _)| order.order_id))
    }

    /// The account's top-ups and calls, newest first, each with what it was charged for.
    pub async fn statement(
        &self,
        account_id: AccountId,
        page: &PageRequest<Position>,
    ) -> Result<Page<(Line, Vec<Charge>)>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows = calls::statement(&mut connection, account_id, page.after, page.limit()).await?;
        let mut explained = Vec::with_capacity(rows.len());
        for line in rows {
            let charges = match &line {
                Line::Call(call) => self.explain(&mut connection, call).await?,
                _ => Vec::new(),
            };
            explained.push((line, charges));
        }
        Ok(page.page(explained, |(line, _)| line.position()))
    }

    /// The bill of one of the account's calls, once it is settled, line by line.
    pub async fn call_bill(
        &self,
        account_id: AccountId,
        id: CallId,
    ) -> Result<(Call, Vec<Charge>), Error> {
        let mut connection = self.pool.acquire().await?;
        let call = calls::find(&mut connection, account_id, id).await?;
        let call = call.ok_or(Error::NotFound)?;
        let charges = self.explain(&mut connection, &call).await?;
        Ok((call, charges))
    }

    /// What a call was charged for: its settlement made sure that this is its amount.
    async fn explain(
        &self,
        connection: &mut PgConnection,
        call: &Call,
    ) -> Result<Vec<Charge>, Error> {
        let list = self
            .price_list_version(connection, call.price_version)
            .await?;
        let prices = list.prices(&call.model, call.price_tier);
        let lines = prices.and_then(|prices| prices.explain(call.counts()).ok());
        lines.ok_or(Error::NoPrices)
    }

    /// The account's usage of some days, in groups.
    pub async fn usage(
        &self,
        question: &Question,
        page: &PageRequest<Group>,
    ) -> Result<Page<Usage>, Error> {
        let mut connection = self.pool.acquire().await?;
        let after = page.after.as_ref();
        let rows = usage_days::list(&mut connection, question, after, page.limit()).await?;
        Ok(page.page(rows, Usage::group))
    }

    /// The price list in force at an instant.
    pub async fn price_list(&self, instant: DateTime<Utc>) -> Result<PriceList, Error> {
        let mut connection = self.pool.acquire().await?;
        let version = prices::in_force(&mut connection, instant)
            .await?
            .ok_or(Error::NotFound)?;
        prices::find(&mut connection, version)
            .await?
            .ok_or(Error::NotFound)
    }

    /// Every published list, the newest first.
    pub async fn published_price_lists(
        &self,
        page: &PageRequest<i32>,
    ) -> Result<Page<Arc<PriceList>>, Error> {
        let mut connection = self.pool.acquire().await?;
        let versions = prices::versions(&mut connection, page.after, page.limit()).await?;
        let mut lists = Vec::with_capacity(versions.len());
        for version in versions {
            lists.push(self.price_list_version(&mut connection, version).await?);
        }
        Ok(page.page(lists, |list| list.version))
    }

    /// The price list with this version. A list never changes, so it is read once.
    pub async fn price_list_version(
        &self,
        connection: &mut PgConnection,
        version: i32,
    ) -> Result<Arc<PriceList>, Error> {
        if let Some(list) = self.price_lists.read().get(&version) {
            return Ok(Arc::clone(list));
        }
        let list = prices::find(connection, version).await?;
        let list = Arc::new(list.ok_or(Error::NoPrices)?);
        self.price_lists.write().insert(version, Arc::clone(&list));
        Ok(list)
    }

    /// What the entries say about the ledger.
    pub async fn audit_ledger(&self) -> Result<Audit, Error> {
        let mut tx = self.pool.begin().await?;
        Ok(audit::recompute(&mut tx).await?)
    }
}
