//! billing's leases, small but true: a balance is never lent twice, and a lease is freed when the
//! usage that was settled equals what its close stated.

use std::{collections::HashMap, pin::Pin, sync::Arc};

use futures::Stream;
use inference_routing::peers::PeerChannel;
use parking_lot::Mutex;
use prost::Message;
use sqlx::PgPool;
use tokio::sync::broadcast;
use tokio_stream::{StreamExt, wrappers::BroadcastStream};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};
use wanwu_ids::AccountId;
use wanwu_proto::{
    billing::v1::{
        AcquireLeaseRequest, AcquireLeaseResponse, CloseLeaseRequest, CloseLeaseResponse,
        FenceEpochRequest, FenceEpochResponse, Lease, Price, PriceList, ReduceLeaseRequest,
        ReduceLeaseResponse, Unit, WatchRecallsRequest, WatchRecallsResponse,
        lease_service_server::{LeaseService, LeaseServiceServer},
    },
    inference::v1::UsageRecorded,
};

use super::{INPUT_PRICE, OUTPUT_PRICE};

/// billing.
#[derive(Clone)]
pub struct FakeBilling {
    pub channel: PeerChannel,
    books: Arc<Mutex<Books>>,
    recalls: broadcast::Sender<String>,
    pool: PgPool,
}

#[derive(Default)]
struct Books {
    /// Free credit by account.
    free: HashMap<String, i64>,
    leases: HashMap<String, Lent>,
    fenced: Vec<String>,
    asked: usize,
    /// Does not answer.
    down: bool,
}

/// A lease as billing knows it.
#[derive(Clone, Debug)]
pub struct Lent {
    pub lease: Lease,
    pub closed: Option<(i64, i64)>,
    pub freed: bool,
}

struct Leases(FakeBilling);

impl FakeBilling {
    pub async fn start(pool: &PgPool) -> Self {
        let (recalls, _) = broadcast::channel(16);
        let mut billing = Self {
            channel: super::loopback(
                tonic::transport::Channel::from_static("http://127.0.0.1:1").connect_lazy(),
            ),
            books: Arc::default(),
            recalls,
            pool: pool.clone(),
        };
        let service = LeaseServiceServer::new(Leases(billing.clone()));
        billing.channel = super::serve(|incoming| {
            super::server()
                .add_service(service)
                .serve_with_incoming(incoming)
        })
        .await;
        billing
    }

    /// Pays into an account.
    pub fn give(&self, account: AccountId, nanos: i64) {
        *self
            .books
            .lock()
            .free
            .entry(account.to_string())
            .or_default() += nanos;
    }

    /// Takes everything out of an account and puts this in.
    pub fn set(&self, account: AccountId, nanos: i64) {
        self.books.lock().free.insert(account.to_string(), nanos);
    }

    pub fn free(&self, account: AccountId) -> i64 {
        self.books.lock().free[&account.to_string()]
    }

    pub fn leases(&self) -> Vec<Lent> {
        self.books.lock().leases.values().cloned().collect()
    }

    /// How often a lease was asked for.
    pub fn asked(&self) -> usize {
        self.books.lock().asked
    }

    pub fn is_fenced(&self, epoch: &str) -> bool {
        self.books
            .lock()
            .fenced
            .iter()
            .any(|fenced| fenced == epoch)
    }

    pub fn go_down(&self, down: bool) {
        self.books.lock().down = down;
    }

    pub fn recall(&self, account: AccountId) {
        self.recalls.send(account.to_string()).unwrap();
    }

    /// Settles every usage event of the outbox and frees what is in order. Answers the balance.
    pub async fn settle(&self, account: AccountId) -> i64 {
        let events = events(&self.pool).await;
        let mut books = self.books.lock();
        let Books { free, leases, .. } = &mut *books;
        for lent in leases.values_mut().filter(|lent| !lent.freed) {
            let of = events.iter().filter(|e| e.lease_id == lent.lease.lease_id);
            let (mut calls, mut sum) = (0, 0);
            for event in of {
                calls += 1;
                sum += event.amount_nanos;
            }
            assert!(sum <= lent.lease.amount_nanos, "more was spent than lent");
            if lent.closed == Some((calls, sum)) {
                lent.freed = true;
                *free.get_mut(&lent.lease.account_id).unwrap() += lent.lease.amount_nanos - sum;
            }
        }
        free[&account.to_string()]
    }
}

/// Every usage event that the router told, in no order.
pub async fn events(pool: &PgPool) -> Vec<UsageRecorded> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("select payload from outbox where type = $1")
        .bind("wanwu.inference.v1.UsageRecorded")
        .fetch_all(pool)
        .await
        .unwrap();
    rows.iter()
        .map(|payload| UsageRecorded::decode(payload.as_slice()).unwrap())
        .collect()
}

fn prices() -> PriceList {
    let price = |unit: Unit, nanos_per_unit| Price {
        model: "test".to_owned(),
        unit: unit.into(),
        nanos_per_unit,
    };
    let prices = vec![
        price(Unit::InputToken, INPUT_PRICE),
        price(Unit::OutputToken, OUTPUT_PRICE),
    ];
    PriceList {
        version: 7,
        effective_time: None,
        prices,
    }
}

fn refused(reason: &str) -> Status {
    let details =
        ErrorDetails::with_error_info(reason, "billing.wanwu", HashMap::<String, String>::new());
    Status::with_error_details(Code::ResourceExhausted, reason, details)
}

#[tonic::async_trait]
impl LeaseService for Leases {
    async fn acquire_lease(
        &self,
        request: Request<AcquireLeaseRequest>,
    ) -> Result<Response<AcquireLeaseResponse>, Status> {
        let ask = request.into_inner();
        let account = ask
            .account_id
            .parse()
            .map_err(|_| Status::internal("account"))?;
        self.0.settle(account).await;
        let mut books = self.0.books.lock();
        books.asked += 1;
        if books.down {
            return Err(Status::unavailable("down"));
        }
        if books.fenced.contains(&ask.epoch_id) {
            return Err(refused("EPOCH_FENCED"));
        }
        let free = books.free.get_mut(&ask.account_id).unwrap();
        if *free < ask.min_nanos {
            return Err(refused("INSUFFICIENT_BALANCE"));
        }
        let amount_nanos = ask.want_nanos.min(*free);
        *free -= amount_nanos;
        let lease = Lease {
            lease_id: ask.lease_id.clone(),
            account_id: ask.account_id,
            epoch_id: ask.epoch_id,
            amount_nanos,
        };
        let lent = Lent {
            lease: lease.clone(),
            closed: None,
            freed: false,
        };
        assert!(books.leases.insert(ask.lease_id, lent).is_none());
        Ok(Response::new(AcquireLeaseResponse {
            lease: Some(lease),
            price_list: Some(prices()),
        }))
    }

    async fn close_lease(
        &self,
        request: Request<CloseLeaseRequest>,
    ) -> Result<Response<CloseLeaseResponse>, Status> {
        let close = request.into_inner();
        let account = {
            let mut books = self.0.books.lock();
            if books.down {
                return Err(Status::unavailable("down"));
            }
            let lent = books
                .leases
                .get_mut(&close.lease_id)
                .ok_or_else(|| Status::not_found("no such lease"))?;
            assert_eq!(lent.lease.epoch_id, close.epoch_id);
            let stated = (close.calls, close.sum_nanos);
            assert!(
                lent.closed.is_none_or(|before| before == stated),
                "closed with other numbers"
            );
            lent.closed = Some(stated);
            lent.lease.account_id.parse().unwrap()
        };
        self.0.settle(account).await;
        let freed = self.0.books.lock().leases[&close.lease_id].freed;
        Ok(Response::new(CloseLeaseResponse { freed }))
    }

    async fn reduce_lease(
        &self,
        request: Request<ReduceLeaseRequest>,
    ) -> Result<Response<ReduceLeaseResponse>, Status> {
        let reduce = request.into_inner();
        let mut books = self.0.books.lock();
        if books.down {
            return Err(Status::unavailable("down"));
        }
        let Books { free, leases, .. } = &mut *books;
        let lent = leases.get_mut(&reduce.lease_id);
        let lent = lent.ok_or_else(|| Status::not_found("no such lease"))?;
        let worth = reduce.amount_nanos;
        if lent.closed.is_none() && worth < lent.lease.amount_nanos {
            let rest = lent.lease.amount_nanos - worth;
            lent.lease.amount_nanos = worth;
            *free.get_mut(&lent.lease.account_id).unwrap() += rest;
        }
        Ok(Response::new(ReduceLeaseResponse {}))
    }

    async fn fence_epoch(
        &self,
        request: Request<FenceEpochRequest>,
    ) -> Result<Response<FenceEpochResponse>, Status> {
        let epoch = request.into_inner().epoch_id;
        let mut books = self.0.books.lock();
        if books.down {
            return Err(Status::unavailable("down"));
        }
        books.fenced.push(epoch.clone());
        let open = books
            .leases
            .values()
            .filter(|lent| lent.lease.epoch_id == epoch);
        let open = open.filter(|lent| lent.closed.is_none());
        let open_leases = open.map(|lent| lent.lease.clone()).collect();
        Ok(Response::new(FenceEpochResponse { open_leases }))
    }

    type WatchRecallsStream =
        Pin<Box<dyn Stream<Item = Result<WatchRecallsResponse, Status>> + Send>>;

    async fn watch_recalls(
        &self,
        _request: Request<WatchRecallsRequest>,
    ) -> Result<Response<Self::WatchRecallsStream>, Status> {
        let recalls = BroadcastStream::new(self.0.recalls.subscribe());
        let items = recalls.filter_map(Result::ok);
        Ok(Response::new(Box::pin(items.map(|account_id| {
            Ok(WatchRecallsResponse { account_id })
        }))))
    }
}
