use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use wanwu_ids::AccountId;
use wanwu_tariff::{Counts, Line, Unit};

use crate::{
    app::App,
    domain::price::{NotPriced, PriceList},
    error::Error,
    store::{prices, spending},
};

/// What would a call cost?
pub struct QuoteCall {
    /// Whose call; `None`: anybody's.
    pub account_id: Option<AccountId>,
    /// The model.
    pub model: String,
    /// What it would use.
    pub counts: Counts,
    /// When; `None`: now.
    pub instant: Option<DateTime<Utc>>,
}

/// What a call costs, line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The list that applies.
    pub price_version: i32,
    /// The tier that applies.
    pub price_tier: i32,
    /// The amount, in 10^-9 CNY.
    pub amount_nanos: i64,
    /// The same as lines.
    pub lines: Vec<Line>,
}

impl App {
    /// Computes what a call costs, with the code that bills it.
    pub async fn quote_call(&self, command: QuoteCall) -> Result<Quote, Error> {
        let instant = command.instant.unwrap_or_else(|| self.now());
        let mut connection = self.pool.acquire().await?;
        let version = prices::in_force(&mut connection, instant).await?;
        let version = version.ok_or(Error::NotFound)?;
        let list = self.price_list_version(&mut connection, version).await?;
        let price_tier = match command.account_id {
            None => 0,
            Some(id) => self.price_tier(&mut connection, &list, id).await?,
        };
        let lines = explain(&list, &command.model, price_tier, command.counts);
        let lines = lines.map_err(|error| match error {
            NotPriced::Model => Error::NotFound,
            NotPriced::Counts(why) => Error::invalid("counts", why.to_string()),
        })?;
        Ok(Quote {
            price_version: version,
            price_tier,
            amount_nanos: lines.iter().map(|line| line.amount).sum(),
            lines,
        })
    }

    /// The tier that an account is in now.
    pub(super) async fn price_tier(
        &self,
        connection: &mut PgConnection,
        list: &PriceList,
        account_id: AccountId,
    ) -> Result<i32, Error> {
        if list.tiers.is_empty() {
            return Ok(0);
        }
        let spent = spending::higher_month(connection, account_id, self.now()).await?;
        Ok(list.tier(spent))
    }
}

fn explain(
    list: &PriceList,
    model: &str,
    tier: i32,
    counts: Counts,
) -> Result<Vec<Line>, NotPriced> {
    let prices = list.prices(model, tier).ok_or(NotPriced::Model)?;
    // One call, where calls have a price.
    let calls = counts
        .of(Unit::Call)
        .max(u64::from(prices.own(Unit::Call).is_some()));
    Ok(prices.explain(counts.with(Unit::Call, calls))?)
}
