//! Orders, what is paid of them and what goes back.

use chrono::Duration;
use serde_json::Value;
use tonic::{Request, Status};
use wanwu_clock::Clock;
use wanwu_ids::AccountId;
use wanwu_proto::{
    billing::v1::{
        AddPaymentChannelRequest, CreateTopUpOrderRequest, GetOrderRequest, Order, OrderState,
        PaymentProvider, ReceiveAlipayCallbackRequest, order_service_server::OrderService,
        payment_callback_service_server::PaymentCallbackService,
    },
    google::r#type::Money,
};

use super::World;
use crate::notices::{Draft, handed};

impl World {
    pub fn order_request(&self, fen: i64) -> CreateTopUpOrderRequest {
        CreateTopUpOrderRequest {
            request_id: self.ids.id::<()>().to_string(),
            amount: Some(Money {
                currency_code: "CNY".to_owned(),
                units: fen / 100,
                nanos: i32::try_from(fen % 100 * 10_000_000).unwrap(),
            }),
            provider: PaymentProvider::WechatNative.into(),
            ..CreateTopUpOrderRequest::default()
        }
    }

    pub async fn create_order(
        &self,
        account: AccountId,
        request: &CreateTopUpOrderRequest,
    ) -> Result<Order, Status> {
        let request = self.by(account, request.clone());
        let answer = self.api.create_top_up_order(request).await?;
        Ok(answer.into_inner().order.unwrap())
    }

    /// An order that waits for its payer, and its number at the provider.
    pub async fn order(&self, account: AccountId, fen: i64) -> (Order, String) {
        let request = self.order_request(fen);
        let order = self.create_order(account, &request).await.unwrap();
        assert_eq!(order.state(), OrderState::AwaitingPayment);
        let number = order.order_id.replace('-', "");
        (order, number)
    }

    pub async fn order_state(&self, account: AccountId, order: &Order) -> OrderState {
        let order_id = order.order_id.clone();
        let request = self.by(account, GetOrderRequest { order_id });
        let order = self.api.get_order(request).await.unwrap().into_inner();
        order.order.unwrap().state()
    }

    /// The order offered through Alipay too.
    pub async fn offer_at_alipay(&self, account: AccountId, order: &Order) -> Order {
        let request = AddPaymentChannelRequest {
            order_id: order.order_id.clone(),
            provider: PaymentProvider::AlipayPrecreate.into(),
            payer: None,
        };
        let answer = self
            .api
            .add_payment_channel(self.by(account, request))
            .await;
        answer.unwrap().into_inner().order.unwrap()
    }

    /// Time passes, and what is due is done.
    pub async fn later(&self, by: Duration) {
        self.clock.advance(by);
        self.app().query_unpaid_orders().await.unwrap();
        self.app().send_refunds().await.unwrap();
    }

    /// What a customer gets back and has not yet, in 10^-9 CNY.
    pub async fn refund_due(&self, account: AccountId) -> i64 {
        let sql = "select coalesce(sum(balance_nanos), 0)::bigint from ledger_accounts
                   where kind = 'refund_due' and account_id = $1";
        let due = sqlx::query_scalar(sql).bind(account).fetch_one(&self.pool);
        due.await.unwrap()
    }

    /// What a notice of Alipay is answered with.
    pub async fn notify_alipay(&self, body: Vec<u8>) -> (i32, Vec<u8>) {
        let request = Request::new(ReceiveAlipayCallbackRequest { body });
        let answer = self.api.receive_alipay_callback(request).await;
        let answer = answer.unwrap().into_inner();
        (answer.http_status, answer.body)
    }

    /// The status that a notice about a transaction is answered with.
    pub async fn notify(&self, transaction: Value) -> i32 {
        let notice = Draft::new(transaction, self.clock.now()).sign(&self.wechat.platform);
        let answer = self.api.receive_we_chat_pay_callback(handed(&notice)).await;
        answer.unwrap().into_inner().http_status
    }

    /// An account that topped up.
    pub async fn customer(&self, fen: i64) -> AccountId {
        let account = self.account();
        let (_, number) = self.order(account, fen).await;
        assert_eq!(self.notify(self.wechat.pay(&number)).await, 204);
        account
    }
}
