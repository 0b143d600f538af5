use sqlx::PgConnection;
use wanwu_ids::{AccountId, OrderId};

use crate::{
    app::App,
    domain::{payment::Provider, payment_channel::Method},
    error::Error,
    store::{
        orders::{self, Order},
        payment_shares::{self, PaymentShare},
    },
};

/// Records that are shown of one order.
const SHOWN: i64 = 100;

impl App {
    /// Records that an order goes to the provider (obligations T3.3.3b, P2.1.1e.3).
    pub(super) async fn share_offer(
        &self,
        tx: &mut PgConnection,
        order: &Order,
        method: Method,
    ) -> sqlx::Result<()> {
        let mut fields = vec!["order_number", "description", "amount", "expiry"];
        fields.extend(match method {
            Method::WechatH5 => Some("payer_address"),
            Method::WechatJsapi => Some("payer_openid"),
            Method::WechatNative | Method::AlipayPrecreate | Method::AlipayPage => None,
        });
        self.share(tx, order, method.provider(), "offer", &fields)
            .await
    }

    /// Records that a refund of an order goes to the provider.
    pub(super) async fn share_refund(
        &self,
        tx: &mut PgConnection,
        order: &Order,
        provider: Provider,
    ) -> sqlx::Result<()> {
        let fields = ["payment_number", "refund_number", "amount"];
        self.share(tx, order, provider, "refund", &fields).await
    }

    async fn share(
        &self,
        tx: &mut PgConnection,
        order: &Order,
        provider: Provider,
        purpose: &str,
        fields: &[&str],
    ) -> sqlx::Result<()> {
        let share = PaymentShare {
            share_id: self.ids.id::<()>().uuid(),
            order_id: order.order_id,
            account_id: order.account_id,
            recipient: provider.as_str().to_owned(),
            purpose: purpose.to_owned(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            shared_at: self.now(),
        };
        payment_shares::insert(tx, &share).await
    }

    /// What of an order went to providers.
    pub async fn payment_shares(
        &self,
        account_id: AccountId,
        id: OrderId,
    ) -> Result<Vec<PaymentShare>, Error> {
        let mut connection = self.pool.acquire().await?;
        let order = orders::find(&mut connection, id).await?;
        order
            .filter(|order| order.account_id == account_id)
            .ok_or(Error::NotFound)?;
        Ok(payment_shares::of_order(&mut connection, id, SHOWN).await?)
    }
}
