use std::{net::SocketAddr, sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use wanwu_events::BrokerConfig;
use wanwu_testkit::wait_for;

use crate::bench::{Bench, Credit, PATIENCE};

/// Stands between us and the broker and can cut every connection.
struct Cutter {
    address: SocketAddr,
    cut: Arc<parking_lot::Mutex<CancellationToken>>,
    _accepting: JoinSet<()>,
}

impl Cutter {
    async fn to(broker: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(parking_lot::Mutex::new(CancellationToken::new()));
        let current = Arc::clone(&cut);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut inside, _)) = listener.accept().await {
                let Ok(mut outside) = TcpStream::connect(&broker).await else {
                    continue;
                };
                let cut = current.lock().clone();
                open.spawn(async move {
                    let both = copy_bidirectional(&mut inside, &mut outside);
                    let _ = cut.run_until_cancelled(both).await;
                });
            }
        });
        Self {
            address,
            cut,
            _accepting: accepting,
        }
    }

    fn cut(&self) {
        std::mem::take(&mut *self.cut.lock()).cancel();
    }
}

#[sqlx::test(migrations = false)]
async fn connections_that_break_lose_nothing_and_double_nothing(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let url = bench
        .broker
        .url
        .as_ref()
        .unwrap()
        .expose_secret()
        .to_owned();
    let after_user = url
        .rsplit_once('@')
        .expect("the URL names a user")
        .1
        .to_owned();
    let place = after_user.split('/').next().unwrap().to_owned();
    let cutter = Cutter::to(place.clone()).await;
    let through = url.replace(&place, &cutter.address.to_string());
    let broker = BrokerConfig {
        url: Some(SecretString::from(through)),
        ..bench.broker.clone()
    };
    let credit = Credit::default();
    bench.relay_by(broker.clone());
    bench.consume_by(&credit, broker);
    for round in 0..6 {
        bench.tell(round * 100, 100).await;
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 60)).await;
        cutter.cut();
    }
    wait_for("the outbox to empty", PATIENCE, || async {
        bench.pending().await == 0
    })
    .await;
    bench.wait_for_effects(600).await;
    assert_eq!(bench.count("select count(*) from inbox_retries").await, 0);
    bench.end().await;
}

#[sqlx::test(migrations = false)]
async fn a_broker_that_is_away_is_waited_for(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let url = bench
        .broker
        .url
        .as_ref()
        .unwrap()
        .expose_secret()
        .to_owned();
    let place = url
        .rsplit_once('@')
        .unwrap()
        .1
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = free.local_addr().unwrap();
    drop(free);
    let through = url.replace(&place, &nowhere.to_string());
    let broker = BrokerConfig {
        url: Some(SecretString::from(through)),
        ..bench.broker.clone()
    };
    bench.relay_by(broker.clone());
    bench.consume_by(&Credit::default(), broker);
    bench.tell(0, 10).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.pending().await, 10);
    let leased = "select count(*) from outbox where attempts > 0";
    assert_eq!(
        bench.count(leased).await,
        0,
        "nothing is taken that cannot be sent"
    );
    bench.relay();
    bench.consume(&Credit::default());
    bench.wait_for_effects(10).await;
    bench.end().await;
}
