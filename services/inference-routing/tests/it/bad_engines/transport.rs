//! What becomes of an engine whose connections are lost, and what each loss is taken for.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use inference_routing::{
    Error,
    domain::{
        breaker::Failure,
        placement::{Ending, Policy},
    },
};
use parking_lot::Mutex;
use serde_json::json;
use sqlx::PgPool;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};

use super::{BadEngine, Fault, Trial, engine::THREE_OF};
use crate::{
    metrics::Metrics,
    world::{World, chat, config, wait_for},
};

#[sqlx::test]
async fn an_engine_whose_connections_are_lost_now_and_then_keeps_its_calls(pool: PgPool) {
    let metrics = Metrics::collected();
    let trial = Trial::start_with(pool, |sections| {
        // However slow the machine is: nothing but connections is lost.
        sections.engines.first_token_timeout = Duration::from_secs(60);
        sections.engines.stall_timeout = Duration::from_secs(60);
        sections.engines.probe_timeout = Duration::from_secs(60);
        sections.limits.requests_per_minute = 0;
    })
    .await;
    trial.load(Duration::from_millis(300)).await;
    let noisy = &trial.engines[0];
    noisy.set(Fault::LosesConnections).await;
    let calls = || trial.engines.iter().map(BadEngine::calls);
    let before: Vec<u64> = calls().collect();
    let begin = Instant::now();
    while noisy.resets() < 20 {
        let waited = begin.elapsed();
        assert!(waited < Duration::from_secs(60), "{}", noisy.resets());
        let seen = trial.load(Duration::from_millis(300)).await;
        let failed = [&seen.refused, &seen.cut].map(|calls| calls.load(Ordering::Relaxed));
        assert_eq!(failed, [0, 0], "{seen:?}");
    }
    // The router saw each reset.
    let of_noisy = [("engine", noisy.url.as_str()), ("outcome", "failed")];
    let failures = metrics.sum("inference_routing_attempts", &of_noisy);
    assert!(failures >= noisy.resets() as f64, "{failures}");
    let left_out = metrics.sum("inference_routing_engine_changes", &[("to", "ejected")]);
    assert_eq!(left_out, 0.0, "after {failures} failures");
    // Of its third it answers what was not reset.
    let got: Vec<u64> = calls().zip(before).map(|(now, then)| now - then).collect();
    let all: u64 = got.iter().sum();
    assert!(got[0] * 4 >= all, "{got:?}");
}

#[sqlx::test]
async fn an_engine_whose_probes_are_lost_keeps_its_calls_and_is_left_out_when_it_has_none(
    pool: PgPool,
) {
    let metrics = Metrics::collected();
    let trial = Trial::start_with(pool, |sections| {
        // However slow the machine is: nothing but probes is lost.
        sections.engines.first_token_timeout = Duration::from_secs(60);
        sections.engines.stall_timeout = Duration::from_secs(60);
        sections.engines.probe_timeout = Duration::from_secs(60);
        sections.limits.requests_per_minute = 0;
    })
    .await;
    let noisy = &trial.engines[0];
    let changed = |to| {
        let of_noisy = [("engine", noisy.url.as_str()), ("to", to)];
        metrics.sum("inference_routing_engine_changes", &of_noisy)
    };
    trial.load(Duration::from_millis(300)).await;
    noisy.set(Fault::LosesProbes).await;
    let (calls, begin) = (noisy.calls(), Instant::now());
    // More than twice as many as are too many without calls.
    while noisy.lost_probes() < 12 {
        let waited = begin.elapsed();
        assert!(waited < Duration::from_secs(60), "{}", noisy.lost_probes());
        let seen = trial.load(Duration::from_millis(300)).await;
        let failed = [&seen.refused, &seen.cut].map(|calls| calls.load(Ordering::Relaxed));
        assert_eq!(failed, [0, 0], "{seen:?}");
    }
    assert_eq!(changed("ejected"), 0.0);
    assert!(noisy.calls() > calls + 20, "{}", noisy.calls());

    let lost = noisy.lost_probes();
    wait_for("it to be left out", async || changed("ejected") == 1.0).await;
    // One or two may have been lost since the last call.
    let alone = noisy.lost_probes() - lost;
    assert!(alone >= 3, "{alone}");

    noisy.set(Fault::Nothing).await;
    let (calls, mended) = (noisy.calls(), Instant::now());
    while noisy.calls() < calls + 20 {
        let waited = mended.elapsed();
        assert!(waited < Duration::from_secs(20), "it is not used again");
        trial.load(Duration::from_millis(100)).await;
    }
    assert_eq!((changed("ejected"), changed("trusted")), (1.0, 1.0));
}

#[sqlx::test]
async fn an_engine_that_loses_three_connections_in_a_row_keeps_its_calls_while_others_pass(
    pool: PgPool,
) {
    const TIMES: u64 = 4;
    let metrics = Metrics::collected();
    let noisy = BadEngine::start().await;
    noisy.set(Fault::LosesThreeInARow).await;
    let world = World::with(pool, |sections| {
        let more = config(&[&noisy.url]).models.remove(0).engines;
        sections.models[0].engines.extend(more);
        sections.models[0].policy = Policy::RoundRobin;
        // However slow the machine is: nothing but connections is lost.
        sections.engines.first_token_timeout = Duration::from_secs(60);
        sections.engines.probe_every = Duration::from_secs(3600);
        sections.limits.requests_per_minute = 0;
    })
    .await;
    // One after the other: of the noisy one's calls three are lost in a row, then none for long.
    let mut calls = 0;
    while noisy.resets() < 3 * TIMES {
        assert!(calls < 10 * THREE_OF, "{} resets", noisy.resets());
        calls += 1;
        let got = world.call(&chat(true, json!({}))).await.unwrap();
        assert_eq!(got.error, None);
    }
    let of_noisy = [("engine", noisy.url.as_str()), ("outcome", "failed")];
    let failures = metrics.sum("inference_routing_attempts", &of_noisy);
    assert_eq!(failures, noisy.resets() as f64, "the router saw each");
    let left_out = metrics.sum("inference_routing_engine_changes", &[("to", "ejected")]);
    assert_eq!(left_out, 0.0, "after {failures} failures");
    assert_eq!(noisy.calls(), (TIMES - 1) * (THREE_OF - 3));
}

/// How a connection is lost.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// Reset before the answer.
    Reset,
    /// Closed before the answer.
    Closed,
    /// Closed in the head of the answer.
    ClosedInHead,
    /// Closed after the head of the answer.
    ClosedInBody,
    /// Reset after the head of the answer.
    ResetInBody,
}

impl Loss {
    /// What is answered before.
    const fn answer(self) -> &'static [u8] {
        match self {
            Self::Reset | Self::Closed => b"",
            Self::ClosedInHead => b"HTTP/1.1 200 OK\r\ncontent-ty",
            Self::ClosedInBody | Self::ResetInBody => {
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\ndata: {}\r\n"
            }
        }
    }

    /// Takes a request and loses its connection.
    async fn lose(self, mut stream: TcpStream) {
        let mut bytes = [0; 4096];
        let mut read = stream.read(&mut bytes).await.unwrap_or_default();
        // All of it: what is not read makes a reset of every end.
        while read > 0 {
            let more = timeout(Duration::from_millis(50), stream.read(&mut bytes)).await;
            read = more.map_or(0, Result::unwrap_or_default);
        }
        stream.write_all(self.answer()).await.ok();
        // A reset takes with it what was not read.
        sleep(Duration::from_millis(50)).await;
        if matches!(self, Self::Reset | Self::ResetInBody) {
            stream.set_zero_linger().unwrap();
        }
    }
}

/// What is said of the engine of a call that nobody answers.
async fn ending(world: &World, stream: bool) -> (&'static str, Ending) {
    match world.call(&chat(stream, json!({}))).await {
        Err(Error::EngineUnavailable(error)) => (error.kind(), error.ending()),
        other => panic!("{other:?}"),
    }
}

#[sqlx::test]
async fn each_way_to_lose_a_connection_is_taken_for_what_it_is(pool: PgPool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let loss = Arc::new(Mutex::new(Loss::Reset));
    let of_now = loss.clone();
    let engine = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let loss = *of_now.lock();
            tokio::spawn(loss.lose(stream));
        }
    });
    let world = World::with(pool, |sections| {
        // Alone it is never left out.
        sections.models[0].engines = config(&[&url]).models.remove(0).engines;
        sections.engines.probe_every = Duration::from_secs(3600);
    })
    .await;
    for (now, kind, failure) in [
        (Loss::Reset, "unreachable", Failure::Transport),
        (Loss::Closed, "unreachable", Failure::Transport),
        (Loss::ClosedInHead, "unreachable", Failure::Transport),
        (Loss::ClosedInBody, "cut", Failure::Broken),
        (Loss::ResetInBody, "cut", Failure::Broken),
    ] {
        *loss.lock() = now;
        for stream in [true, false] {
            let ending = ending(&world, stream).await;
            assert_eq!(ending, (kind, Ending::Failed(failure)), "{now:?}, {stream}");
        }
    }
    engine.abort();
    engine.await.unwrap_err();
    assert_eq!(
        ending(&world, true).await,
        ("not_listening", Ending::Failed(Failure::Refused))
    );
}
