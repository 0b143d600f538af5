//! Engines behind a name whose addresses change while the router runs.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use inference_routing::{
    domain::placement::Policy,
    engine::discovery::{Source, Watched, discover},
};
use parking_lot::Mutex;
use serde_json::json;
use sqlx::PgPool;
use tokio::net::TcpListener;

use crate::{
    metrics::Metrics,
    world::{World, chat, engine::FakeEngine, read, wait_for},
};

const HOST: &str = "engines.test";
const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A name service that knows one name. The machine's own cannot be told to fail.
#[derive(Clone, Default)]
struct Names {
    /// The addresses of the name; none: the service is ill.
    said: Arc<Mutex<Option<Vec<IpAddr>>>>,
    asked: Arc<AtomicUsize>,
}

impl Names {
    fn say(&self, addresses: Option<&[IpAddr]>) {
        *self.said.lock() = addresses.map(<[_]>::to_vec);
    }

    fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(host, HOST);
        let said = self.said.lock().clone();
        self.asked.fetch_add(1, Ordering::Relaxed);
        let addresses = said.ok_or_else(|| io::Error::other("the name service is ill"))?;
        let place = |address| SocketAddr::new(address, port);
        Ok(addresses.into_iter().map(place).collect())
    }

    /// Waits until what is said now has been read, and acted on.
    async fn heard(&self) {
        let before = self.asked.load(Ordering::Relaxed);
        // The first from now on may have been answered before; who asks a third time has done with the second.
        wait_for("the name to be looked up", async || {
            self.asked.load(Ordering::Relaxed) >= before + 3
        })
        .await;
    }
}

/// Two engines at one port, which they share with their name.
async fn engines() -> ([FakeEngine; 2], u16) {
    let first = TcpListener::bind((FIRST, 0)).await.unwrap();
    let port = first.local_addr().unwrap().port();
    let second = TcpListener::bind((SECOND, port)).await.unwrap();
    ([FakeEngine::on(first), FakeEngine::on(second)], port)
}

/// How many of six calls each engine got.
async fn of_six(world: &World, engines: &[FakeEngine; 2]) -> [usize; 2] {
    let before = engines.each_ref().map(FakeEngine::calls);
    for _ in 0..6 {
        let got = world.call(&chat(true, json!({"tokens": 1}))).await.unwrap();
        assert!(got.error.is_none());
    }
    let after = engines.each_ref().map(FakeEngine::calls);
    [after[0] - before[0], after[1] - before[1]]
}

#[sqlx::test]
async fn engines_come_and_go_with_the_addresses_of_their_name(pool: PgPool) {
    let metrics = Metrics::collected();
    let (engines, port) = engines().await;
    let names = Names::default();
    names.say(Some(&[FIRST, SECOND]));
    let world = World::with(pool, |sections| {
        sections.models[0].policy = Policy::RoundRobin;
    })
    .await;
    // In place of the engine that the configuration names.
    let source = Source::parse(&format!("dns:{HOST}:{port}")).unwrap();
    let model = world.app.chat.catalogue.find("test").unwrap();
    let watched = Watched {
        pool: model.pool.clone(),
        at: 0,
        source,
        authorization: None,
        production: false,
    };
    let known = names.clone();
    let look_up = move |host: String, port| std::future::ready(known.look_up(&host, port));
    let every = Duration::from_millis(50);
    tokio::spawn(discover(vec![watched], look_up, every, world.stop.clone()));
    names.heard().await;
    assert_eq!(of_six(&world, &engines).await, [3, 3]);

    // One address goes: its stream ends as it began.
    let slow = chat(true, json!({"tokens": 40, "delay_ms": 50}));
    let running = [
        world.begin(&slow).await.unwrap(),
        world.begin(&slow).await.unwrap(),
    ];
    names.say(Some(&[FIRST]));
    names.heard().await;
    assert_eq!(of_six(&world, &engines).await, [6, 0]);
    for reply in running {
        let got = read(reply).await;
        assert!(got.error.is_none());
        assert_eq!(got.text().matches('词').count(), 40);
    }

    // What cannot be read, or is empty, changes nothing.
    let failures = || {
        let of_model = [("model", "test")];
        metrics.sum("inference_routing_discovery_failures", &of_model)
    };
    assert_eq!(failures(), 0.0);
    for ill in [None, Some(&[] as &[IpAddr])] {
        names.say(ill);
        names.heard().await;
        assert_eq!(of_six(&world, &engines).await, [6, 0]);
    }
    assert!(failures() >= 1.0);

    names.say(Some(&[FIRST, SECOND]));
    names.heard().await;
    assert_eq!(of_six(&world, &engines).await, [3, 3]);
}
