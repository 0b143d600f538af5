//! billing's leases, small but true: a balance is never lent twice, and a lease is freed when the
//! usage that was settled equals what its close stated.

use std::{collections::HashMap, pin::Pin, sync::Arc};

use futures::Stream;
use inference_routing::peers::PeerChannel;
use parking_lot::Mutex;
use prost::Message;
use sqlx::PgPool;
use tokio::sync::broadcast;
use tokio_stream::{
    StreamExt,
    wrappers::{BroadcastStream, IntervalStream},
};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};
use wanwu_ids::{AccountId, KeyId};
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
    recalls: broadcast::Sender<WatchRecallsResponse>,
    pool: PgPool,
}

#[derive(Default)]
struct Books {
    /// Free credit by account.
    free: HashMap<String, i64>,
    leases: HashMap<String, Lent>,
    fenced: Vec<String>,
    /// What a key may spend in all.
    budgets: HashMap<String, i64>,
    asked: usize,
    /// Prices of other units than tokens of prompt and answer.
    prices: Vec<(Unit, i64)>,
    /// Does not answer.
    down: bool,
    /// Lends, and the answer is lost.
    answers_are_lost: bool,
}

/// A lease as billing knows it.
#[derive(Clone, Debug)]
pub struct Lent {
    pub lease: Lease,
    pub closed: Option<(i64, i64)>,
    pub freed: bool,
}

struct Leases(FakeBilling);

impl Books {
    /// What is used of a key's budget: the usage of its calls, and what its leases hold more.
    fn used(&self, key: &str, events: &[UsageRecorded]) -> i64 {
        let of_key = events.iter().filter(|event| event.key_id == key);
        let spent: i64 = of_key.map(|event| event.amount_nanos).sum();
        let bound = self
            .leases
            .values()
            .filter(|lent| lent.lease.key_id == key && !lent.freed);
        let held = bound.map(|lent| {
            let paid = events.iter().filter(|e| e.lease_id == lent.lease.lease_id);
            lent.lease.amount_nanos - paid.map(|event| event.amount_nanos).sum::<i64>()
        });
        spent + held.sum::<i64>()
    }
}

impl FakeBilling {
    pub async fn start(pool: &PgPool) -> Self {
        let (recalls, _) = broadcast::channel(1024);
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

    pub fn lose_answers(&self, lost: bool) {
        self.books.lock().answers_are_lost = lost;
    }

    /// Has a price for another unit too, in the lists of leases from now on; and a tier.
    pub fn price(&self, unit: Unit, nanos: i64) {
        self.books.lock().prices.push((unit, nanos));
    }

    pub fn recall(&self, account: AccountId) {
        self.tell(account, false);
    }

    /// Sets the budget of a key and tells it.
    pub fn set_budget(&self, account: AccountId, key: KeyId, nanos: i64) {
        self.books.lock().budgets.insert(key.to_string(), nanos);
        self.tell(account, true);
    }

    fn tell(&self, account: AccountId, forget: bool) {
        let _ = self.recalls.send(WatchRecallsResponse {
            account_id: account.to_string(),
            forget,
        });
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

fn prices(others: &[(Unit, i64)]) -> PriceList {
    let price = |model: &str, unit: Unit, nanos_per_unit| Price {
        model: model.to_owned(),
        unit: unit.into(),
        nanos_per_unit,
    };
    let mut prices = vec![
        price("test", Unit::InputToken, INPUT_PRICE),
        price("test", Unit::OutputToken, OUTPUT_PRICE),
        price("vectors", Unit::InputToken, INPUT_PRICE),
        price("vectors", Unit::OutputToken, 0),
    ];
    prices.extend(
        others
            .iter()
            .map(|(unit, nanos)| price("test", *unit, *nanos)),
    );
    PriceList {
        version: 7,
        tier: 2,
        prices,
        ..PriceList::default()
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
        let events = events(&self.0.pool).await;
        let mut books = self.0.books.lock();
        books.asked += 1;
        if books.down {
            return Err(Status::unavailable("down"));
        }
        if books.fenced.contains(&ask.epoch_id) {
            return Err(refused("EPOCH_FENCED"));
        }
        if let Some(made) = books.leases.get(&ask.lease_id) {
            if books.answers_are_lost {
                return Err(Status::unavailable("lost"));
            }
            return match made.closed {
                Some(_) => Err(refused("LEASE_MISMATCH")),
                None => Ok(Response::new(AcquireLeaseResponse {
                    lease: Some(made.lease.clone()),
                    price_list: Some(prices(&books.prices)),
                    account_wide: books.budgets.is_empty(),
                })),
            };
        }
        let mut free = *books.free.get(&ask.account_id).unwrap();
        if ask.ahead {
            free /= 2;
        }
        if free < ask.min_nanos {
            return Err(refused("INSUFFICIENT_BALANCE"));
        }
        let mut amount_nanos = ask.want_nanos.min(free);
        let mut key_id = String::new();
        if let Some(budget) = books.budgets.get(&ask.key_id).copied() {
            let used = books.used(&ask.key_id, &events);
            if budget - used < ask.min_nanos {
                drop(books);
                // Others may hold it.
                self.0.tell(account, false);
                return Err(refused("BUDGET_EXHAUSTED"));
            }
            amount_nanos = amount_nanos.min(budget - used);
            key_id.clone_from(&ask.key_id);
        }
        *books.free.get_mut(&ask.account_id).unwrap() -= amount_nanos;
        let lease = Lease {
            lease_id: ask.lease_id.clone(),
            account_id: ask.account_id,
            epoch_id: ask.epoch_id,
            amount_nanos,
            key_id,
            ..Lease::default()
        };
        let lent = Lent {
            lease: lease.clone(),
            closed: None,
            freed: false,
        };
        books.leases.insert(ask.lease_id, lent);
        if books.answers_are_lost {
            return Err(Status::unavailable("lost"));
        }
        Ok(Response::new(AcquireLeaseResponse {
            lease: Some(lease),
            price_list: Some(prices(&books.prices)),
            account_wide: books.budgets.is_empty(),
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
        let every = tokio::time::interval(std::time::Duration::from_millis(200));
        let heartbeats = IntervalStream::new(every).map(|_| WatchRecallsResponse::default());
        let items = recalls.filter_map(Result::ok).merge(heartbeats);
        Ok(Response::new(Box::pin(items.map(Ok))))
    }
}
