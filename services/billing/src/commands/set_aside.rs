use sqlx::PgConnection;
use wanwu_ids::AccountId;

use crate::{
    app::App,
    domain::{
        ledger::{LedgerAccount, Movement},
        money::NANOS_PER_FEN,
        package_booking::{self, Bought},
        product::Fulfilment,
    },
    error::Error,
    store::{
        ledger::{self, Posting},
        packages::{self, Package},
        products,
        refunds::Refund,
    },
};

impl App {
    /// Sets aside what goes back: of a product what is held for it, of a package what is left of it and
    /// then what was spent of it, else what the customer has left and then what they spent.
    pub(super) async fn set_aside(
        &self,
        tx: &mut PgConnection,
        refund: &Refund,
        account_id: AccountId,
    ) -> Result<(), Error> {
        let nanos = refund.amount_fen * NANOS_PER_FEN;
        let movements = if let Some(delivery) = products::find_delivery(tx, refund.order_id).await?
        {
            let provided = delivery.state == Fulfilment::Completed;
            vec![Movement::set_aside_sale(account_id, nanos, provided)]
        } else if let Some(package) = packages::lock_of_order(tx, refund.order_id).await? {
            let taken = bought(tx, &package).await?.take_back(nanos);
            packages::take_back(tx, package.package_id, taken.paid + taken.discount).await?;
            let earned = ledger::balance(tx, LedgerAccount::Revenue(account_id)).await?;
            package_booking::refund(account_id, taken, earned).to_vec()
        } else {
            let account = LedgerAccount::Available(account_id);
            let available = ledger::lock_balance(tx, account).await?;
            Movement::set_aside(account_id, nanos, available).to_vec()
        };
        let cause_id = refund.refund_id.uuid();
        let posting = |movement| Posting { movement, cause_id };
        let postings: Vec<_> = movements.into_iter().map(posting).collect();
        ledger::book(tx, &self.ids, &postings, self.now()).await?;
        Ok(())
    }
}

/// What was paid for a package, and what is left of it.
pub(super) async fn bought(tx: &mut PgConnection, package: &Package) -> Result<Bought, Error> {
    let product = packages::find_product(tx, &package.product).await?;
    let product = product.ok_or(Error::NotFound)?;
    Ok(Bought {
        price: product.price(),
        credit: package.credit_nanos,
        left: package.left_nanos,
    })
}
