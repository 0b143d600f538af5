use sqlx::PgConnection;
use wanwu_ids::{AccountId, OrderId};

use crate::{
    app::App,
    domain::{
        calendar,
        purchase::{Buyer, NotAllowed},
    },
    error::Error,
    store::{purchase_allowances, terminations},
};

impl App {
    /// Whether somebody may buy for an amount, in fen, and which word of the guardian covers it; `None`:
    /// an adult needs none. Whoever's contract is over buys nothing, and a minor only what a guardian
    /// allows (obligation T3.3.1c). Buyers of one guardian's word wait for each other until `tx` ends.
    pub(crate) async fn may_buy(
        &self,
        tx: &mut PgConnection,
        account_id: AccountId,
        buyer: Buyer,
        amount_fen: i64,
    ) -> Result<Option<i64>, Error> {
        if terminations::is_over(tx, account_id).await? {
            return Err(Error::TerminationState);
        }
        match buyer {
            Buyer::Adult => Ok(None),
            Buyer::Minor => {
                let version = self.allowance_of(tx, account_id, amount_fen, None).await?;
                Ok(Some(version))
            }
        }
    }

    /// Which word of the guardian covers an amount now; `order`: what is bought is ordered already.
    pub(crate) async fn allowance_of(
        &self,
        tx: &mut PgConnection,
        account_id: AccountId,
        amount_fen: i64,
        order: Option<OrderId>,
    ) -> Result<i64, Error> {
        let now = self.now();
        let allowance = purchase_allowances::lock(tx, account_id).await?;
        let allowance = allowance.ok_or(Error::PurchaseNotAllowed(NotAllowed::Nothing))?;
        let month = calendar::month(calendar::day(now));
        let time = (
            calendar::begin(month),
            calendar::begin(calendar::next_month(month)),
        );
        let bought_fen = purchase_allowances::bought(tx, account_id, time, order).await?;
        allowance
            .covers(amount_fen, bought_fen, now)
            .map_err(Error::PurchaseNotAllowed)?;
        Ok(allowance.version)
    }
}
