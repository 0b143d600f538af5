//! What stands in for a router: it takes leases of billing and tells usage through the real outbox of
//! inference-routing, so that relay, broker, consumer and ledger are the true ones. What it told it
//! counts itself.

use std::collections::BTreeMap;

use anyhow::Context;
use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use sqlx::{PgPool, postgres::PgPoolOptions};
use uuid::Uuid;
use wanwu_grpc::{Channel, PeerAddress, Tls, TlsConfig};
use wanwu_proto::{
    billing::v1::{
        AcquireLeaseRequest, CloseLeaseRequest, lease_service_client::LeaseServiceClient,
    },
    inference::v1::UsageRecorded,
};

use crate::{journey::Journey, stack::Stack};

const MODEL: &str = "scripted";
/// Rows of one statement.
const CHUNK: usize = 1000;

/// One life of a router.
pub(super) struct Router {
    leases: LeaseServiceClient<Channel>,
    /// The database of inference-routing, as its own role.
    pub outbox: PgPool,
    /// The database of billing, as its own role.
    pub billing: PgPool,
    epoch: String,
    prices: (i64, i64),
    chance: StdRng,
}

/// A lease and the calls that it paid for.
pub(super) struct Spent {
    pub lease: String,
    pub calls: i64,
    pub sum: i64,
}

impl Router {
    /// A new life; `seed` is what its calls depend on.
    pub(super) async fn start(stack: &Stack, journey: &Journey, seed: u64) -> anyhow::Result<Self> {
        let own = stack.service("inference-routing");
        let tls = Tls::load(&TlsConfig {
            ca_file: stack.description().ca_file.clone(),
            cert_file: own.certificate.clone(),
            key_file: own.key.clone(),
        })?;
        let billing = stack.service("billing").grpc.clone();
        let address = billing.trim_start_matches("https://").to_owned();
        let channel = Channel::new("billing", PeerAddress::List(vec![address]), &tls);
        let pool = |service: &str| {
            let url = stack.description().database.urls.get(service);
            let url = url.context("the stack has no such database")?;
            anyhow::Ok(PgPoolOptions::new().max_connections(4).connect_lazy(url)?)
        };
        Ok(Self {
            leases: LeaseServiceClient::new(channel),
            outbox: pool("inference-routing")?,
            billing: pool("billing")?,
            epoch: Uuid::now_v7().to_string(),
            prices: journey.price(MODEL).await?,
            chance: StdRng::seed_from_u64(seed),
        })
    }

    /// Takes a lease of exactly so much; answers it and the price list that its calls are billed at.
    pub(super) async fn acquire(&self, account: &str, nanos: i64) -> anyhow::Result<(String, i32)> {
        let lease_id = Uuid::now_v7().to_string();
        let request = AcquireLeaseRequest {
            lease_id: lease_id.clone(),
            account_id: account.to_owned(),
            epoch_id: self.epoch.clone(),
            min_nanos: nanos,
            want_nanos: nanos,
            ..AcquireLeaseRequest::default()
        };
        let lease = self.leases.clone().acquire_lease(request).await?;
        let list = lease.into_inner().price_list.unwrap_or_default();
        Ok((lease_id, list.version))
    }

    /// Gives a lease back.
    pub(super) async fn close(&self, spent: &Spent) -> anyhow::Result<bool> {
        let request = CloseLeaseRequest {
            lease_id: spent.lease.clone(),
            epoch_id: self.epoch.clone(),
            calls: spent.calls,
            sum_nanos: spent.sum,
        };
        Ok(self
            .leases
            .clone()
            .close_lease(request)
            .await?
            .into_inner()
            .freed)
    }

    /// Leases for `calls` calls of an account, and the usage of each.
    pub(super) async fn spend(
        &mut self,
        account: &str,
        calls: usize,
        each_lease: usize,
    ) -> anyhow::Result<(Vec<Spent>, Vec<UsageRecorded>)> {
        let (mut leases, mut usages) = (Vec::new(), Vec::new());
        for begin in (0..calls).step_by(each_lease) {
            let calls = each_lease.min(calls - begin);
            let most = 40 * (self.prices.0 + self.prices.1);
            let (lease, price_version) = self.acquire(account, most * calls as i64).await?;
            let first = usages.len();
            for _ in 0..calls {
                usages.push(self.usage(account, &lease, price_version));
            }
            leases.push(Spent {
                lease,
                calls: calls as i64,
                sum: usages[first..].iter().map(|usage| usage.amount_nanos).sum(),
            });
        }
        Ok((leases, usages))
    }

    fn usage(&mut self, account: &str, lease: &str, price_version: i32) -> UsageRecorded {
        let (input, output) = (
            self.chance.random_range(0..40),
            self.chance.random_range(0..40),
        );
        UsageRecorded {
            call_id: Uuid::now_v7().to_string(),
            lease_id: lease.to_owned(),
            account_id: account.to_owned(),
            app_id: Uuid::now_v7().to_string(),
            key_id: Uuid::now_v7().to_string(),
            model: MODEL.to_owned(),
            input_tokens: input,
            output_tokens: output,
            price_version,
            amount_nanos: input * self.prices.0 + output * self.prices.1,
            usage_source: "engine".to_owned(),
            ..UsageRecorded::default()
        }
    }

    /// Tears one in so many out of its place.
    pub(super) fn shuffle(&mut self, usages: &mut [UsageRecorded], one_in: usize) {
        for _ in 0..usages.len() / one_in / 2 {
            let (a, b) = (
                self.chance.random_range(0..usages.len()),
                self.chance.random_range(0..usages.len()),
            );
            usages.swap(a, b);
        }
    }

    /// Some of them, again.
    pub(super) fn some(&mut self, usages: &[UsageRecorded], count: usize) -> Vec<UsageRecorded> {
        let mut places: Vec<_> = (0..usages.len()).collect();
        places.shuffle(&mut self.chance);
        places.truncate(count);
        places
            .into_iter()
            .map(|place| usages[place].clone())
            .collect()
    }

    /// Writes events into the outbox, each with an id of its own; answers the ids.
    pub(super) async fn tell(&self, usages: &[UsageRecorded]) -> anyhow::Result<Vec<Uuid>> {
        let mut told = Vec::new();
        for chunk in usages.chunks(CHUNK) {
            let ids: Vec<_> = chunk.iter().map(|_| Uuid::now_v7()).collect();
            let payloads: Vec<_> = chunk.iter().map(Message::encode_to_vec).collect();
            sqlx::query(
                "insert into outbox (event_id, type, payload)
                 select id, 'wanwu.inference.v1.UsageRecorded', payload
                 from unnest($1::uuid[], $2::bytea[]) as event (id, payload)",
            )
            .bind(&ids)
            .bind(payloads)
            .execute(&self.outbox)
            .await?;
            told.extend(ids);
        }
        Ok(told)
    }

    /// Sends events again that the broker has taken, under their own ids.
    pub(super) async fn send_again(&self, ids: &[Uuid]) -> anyhow::Result<u64> {
        let again = sqlx::query(
            "update outbox set published_at = null, leased_until = null
             where event_id = any ($1) and published_at is not null",
        )
        .bind(ids)
        .execute(&self.outbox)
        .await?;
        Ok(again.rows_affected())
    }

    /// Events that the broker has not taken.
    pub(super) async fn unsent(&self) -> anyhow::Result<i64> {
        let waiting = sqlx::query_scalar("select count(*) from outbox where published_at is null");
        Ok(waiting.fetch_one(&self.outbox).await?)
    }

    /// How many of the leases' calls are settled.
    pub(super) async fn settled(&self, leases: &[Uuid]) -> anyhow::Result<i64> {
        let calls: Option<i64> = sqlx::query_scalar(
            "select sum(settled_calls)::bigint from leases where lease_id = any ($1)",
        )
        .bind(leases)
        .fetch_one(&self.billing)
        .await?;
        Ok(calls.unwrap_or_default())
    }
}

/// Ids of leases, as the database knows them.
pub(super) fn ids(leases: &[Spent]) -> Vec<Uuid> {
    leases
        .iter()
        .filter_map(|spent| spent.lease.parse().ok())
        .collect()
}

/// What each account spent, added up in the plainest way from tokens and prices.
pub(super) fn added_up(usages: &[UsageRecorded], prices: (i64, i64)) -> BTreeMap<String, i128> {
    let mut sums = BTreeMap::new();
    for usage in usages {
        let cost = i128::from(usage.input_tokens) * i128::from(prices.0)
            + i128::from(usage.output_tokens) * i128::from(prices.1);
        *sums.entry(usage.account_id.clone()).or_default() += cost;
    }
    sums
}

impl Router {
    /// The prices of the calls' model: input and output token, in 10^-9 CNY.
    pub(super) fn prices(&self) -> (i64, i64) {
        self.prices
    }
}
