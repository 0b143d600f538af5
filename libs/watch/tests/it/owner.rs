//! An owner of values whose every answer, change and silence the test decides.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use wanwu_proto::identity::v1::Standing;
use wanwu_watch::{Holder, Source};

type Told = Result<Option<Standing>, Status>;

#[derive(Clone, Default)]
pub struct Owner {
    pub asks: Arc<AtomicUsize>,
    pub watches: Arc<AtomicUsize>,
    pub silent: Arc<AtomicBool>,
    /// Answers are read at once and arrive when told to.
    pub held_back: Arc<AtomicBool>,
    pub let_go: Arc<Notify>,
    values: Arc<Mutex<HashMap<String, u64>>>,
    stream: Arc<Mutex<Option<tokio::sync::mpsc::UnboundedSender<Told>>>>,
}

pub fn standing(key: &str, version: u64) -> Standing {
    Standing {
        account_id: key.to_owned(),
        version,
        ..Standing::default()
    }
}

impl Owner {
    /// A holder of this owner's values that runs until the test ends.
    pub async fn holder(&self, capacity: usize) -> Holder<Owner> {
        let holder = Holder::new(self.clone(), capacity);
        tokio::spawn(holder.clone().run(CancellationToken::new()));
        self.opened(1).await;
        holder
    }

    pub async fn opened(&self, times: usize) {
        while self.watches.load(Ordering::SeqCst) < times {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        settle().await;
    }

    pub fn set(&self, key: &str, version: u64) {
        self.values.lock().insert(key.to_owned(), version);
    }

    pub async fn heartbeat(&self) {
        self.send(Ok(None)).await;
    }

    pub async fn tell(&self, key: &str, version: u64) {
        self.send(Ok(Some(standing(key, version)))).await;
    }

    pub async fn send(&self, told: Told) {
        self.stream.lock().as_ref().unwrap().send(told).unwrap();
        settle().await;
    }

    pub fn cut(&self) {
        *self.stream.lock() = None;
    }

    pub fn asked(&self) -> usize {
        self.asks.load(Ordering::SeqCst)
    }
}

/// Lets every task run that can, without time passing.
pub async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

impl Source for Owner {
    type Item = Standing;

    async fn ask(&self, key: &str) -> Result<Standing, Status> {
        self.asks.fetch_add(1, Ordering::SeqCst);
        let version = self.values.lock().get(key).copied();
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.held_back.load(Ordering::SeqCst) {
            self.let_go.notified().await;
        }
        version
            .map(|version| standing(key, version))
            .ok_or_else(|| Status::not_found("no"))
    }

    async fn watch(&self) -> Result<BoxStream<'static, Told>, Status> {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        *self.stream.lock() = Some(sender);
        self.watches.fetch_add(1, Ordering::SeqCst);
        Ok(UnboundedReceiverStream::new(receiver).boxed())
    }
}
