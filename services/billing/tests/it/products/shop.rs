//! A shop: what its customers order and pay, and what an operator does for them.

use std::path::Path;

use billing::grpc::ProductHandlers;
use sqlx::PgPool;
use tonic::Status;
use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::{
    ApproveRefundRequest, CreateProductOrderRequest, FulfilmentState, GetProductOrderRequest,
    PaymentProvider, ProductOrder, Recipient, RecordFulfilmentRequest, RefundReason,
    RequestRefundRequest, product_service_server::ProductService,
    refund_service_server::RefundService,
};

use crate::world::World;

pub struct Shop {
    pub world: World,
    pub api: ProductHandlers,
}

impl Shop {
    pub async fn new(pool: PgPool) -> Self {
        let world = World::new(pool).await;
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/products"));
        world.app().publish_catalogues(folder).await.unwrap();
        let api = ProductHandlers(world.order_desk());
        Self { world, api }
    }

    pub fn handbook(&self, quantity: i32) -> CreateProductOrderRequest {
        CreateProductOrderRequest {
            request_id: self.world.ids.id::<()>().to_string(),
            product_id: "printed-handbook".to_owned(),
            quantity,
            provider: PaymentProvider::WechatNative.into(),
            accepted_addendum: "goods-terms-1".to_owned(),
            recipient: Some(Recipient {
                name: "王小明".to_owned(),
                phone: "13812345678".to_owned(),
                address: "福建省厦门市思明区某路1号".to_owned(),
            }),
            payer: None,
        }
    }

    pub fn day(&self) -> CreateProductOrderRequest {
        CreateProductOrderRequest {
            product_id: "integration-day".to_owned(),
            accepted_addendum: String::new(),
            recipient: None,
            ..self.handbook(1)
        }
    }

    pub async fn order(
        &self,
        account: AccountId,
        request: CreateProductOrderRequest,
    ) -> Result<ProductOrder, Status> {
        let request = self.world.by(account, request);
        let answer = self.api.create_product_order(request).await?;
        Ok(answer.into_inner().product_order.unwrap())
    }

    pub async fn pay(&self, order: &ProductOrder) -> String {
        let order_id = order.order.clone().unwrap().order_id;
        let transaction = self.world.wechat.pay(&order_id.replace('-', ""));
        assert_eq!(self.world.notify(transaction).await, 204);
        order_id
    }

    pub async fn read(&self, account: AccountId, order_id: &str) -> Result<ProductOrder, Status> {
        let order_id = order_id.to_owned();
        let request = self.world.by(account, GetProductOrderRequest { order_id });
        let answer = self.api.get_product_order(request).await?;
        Ok(answer.into_inner().product_order.unwrap())
    }

    pub async fn record(&self, order_id: &str, state: FulfilmentState) -> Result<(), Status> {
        let request = RecordFulfilmentRequest {
            order_id: order_id.to_owned(),
            state: state.into(),
            tracking: if state == FulfilmentState::Shipped {
                "SF1234567890".to_owned()
            } else {
                String::new()
            },
        };
        let request = self.world.by_operator(self.world.ids.id(), request);
        self.api.record_fulfilment(request).await.map(drop)
    }

    /// Held and earned, in 10^-9 CNY.
    pub async fn books(&self, account: AccountId) -> (i64, i64) {
        sqlx::query_as(
            "select coalesce(sum(balance_nanos) filter (where kind = 'held'), 0)::bigint,
                    coalesce(sum(balance_nanos) filter (where kind = 'revenue'), 0)::bigint
             from ledger_accounts where account_id = $1",
        )
        .bind(account)
        .fetch_one(&self.world.pool)
        .await
        .unwrap()
    }

    pub async fn give_back(&self, order_id: &str, fen: i64) {
        let world = &self.world;
        let wanted = RequestRefundRequest {
            request_id: world.ids.id::<()>().to_string(),
            order_id: order_id.to_owned(),
            amount: World::fen(fen),
            reason: RefundReason::PrepaidNotProvided.into(),
            case_id: "CASE-1".to_owned(),
            evidence_sha256: vec![1; 32],
            service_unusable: false,
        };
        let wanted = world.by_operator(world.ids.id(), wanted);
        let refund = world.api.request_refund(wanted).await.unwrap().into_inner();
        let refund_id = refund.refund.unwrap().refund_id;
        let approve = world.by_operator(world.ids.id(), ApproveRefundRequest { refund_id });
        world.api.approve_refund(approve).await.unwrap();
    }
}
