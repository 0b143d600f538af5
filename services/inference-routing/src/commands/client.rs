//! The two ends of an answer: the call sends, the client's response stream takes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::timeout};
use wanwu_ids::CallId;

use crate::{
    domain::{
        answer::{Frame, Spent},
        route::Notice,
    },
    error::Error,
};

/// Frames that wait for the client at most.
const FRAMES: usize = 8;
/// What a client that was given up finds when it reads on.
const STALLED: &[u8] = br#"{"error":{"message":"nothing of the stream was taken for too long; what was taken is billed","type":"server_error","param":null,"code":"client_stalled"}}"#;

/// One item of an answer.
#[derive(Clone, Debug)]
pub enum Item {
    /// JSON of a chunk or of a whole answer.
    Data(Frame),
    /// JSON of an error; the answer ends with it.
    Error(Bytes),
}

/// The sending end.
#[derive(Debug)]
pub struct Client {
    /// The label of the answer.
    pub label: String,
    items: mpsc::Sender<Result<Item, Error>>,
    taken: Arc<Mutex<Taken>>,
}

/// What the client's stream took.
#[derive(Debug, Default)]
struct Taken {
    spent: Spent,
    /// It gets no more.
    given_up: bool,
}

/// The answer as the client gets it.
#[derive(Debug)]
pub struct Reply {
    /// The call.
    pub call_id: CallId,
    /// Its label.
    pub label: String,
    /// The client asked for a stream.
    pub stream: bool,
    /// What the client is told of the model's end.
    pub notice: Notice,
    first: Option<Item>,
    items: mpsc::Receiver<Result<Item, Error>>,
    taken: Arc<Mutex<Taken>>,
    told: bool,
}

/// The client went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Client {
    /// Waits until the client goes away.
    pub async fn gone(&self) {
        self.items.closed().await;
    }

    /// There is no room for an item now.
    pub fn is_full(&self) -> bool {
        self.items.capacity() == 0
    }

    /// Room for an item.
    pub async fn room(&self) -> Result<mpsc::Permit<'_, Result<Item, Error>>, Gone> {
        self.items.reserve().await.map_err(|_| Gone)
    }

    /// Sends an item, where nothing else is to be done meanwhile.
    pub async fn send(&self, item: Item) -> Result<(), Gone> {
        self.items.send(Ok(item)).await.map_err(|_| Gone)
    }

    /// Refuses the call: nothing was sent.
    pub async fn refuse(&self, error: Error) {
        let _ = self.items.send(Err(error)).await;
    }

    /// What was taken for sending so far.
    pub fn delivered(&self) -> Spent {
        self.taken.lock().spent
    }

    /// The client took nothing for too long. What it did not take it does not get any more, and does
    /// not pay.
    pub fn give_up(&self) {
        self.taken.lock().given_up = true;
    }
}

impl Reply {
    /// Both ends.
    #[must_use]
    pub fn channel(call_id: CallId, label: String, stream: bool, notice: Notice) -> (Client, Self) {
        let (sender, items) = mpsc::channel(FRAMES);
        let taken = Arc::<Mutex<Taken>>::default();
        let client = Client {
            label: label.clone(),
            items: sender,
            taken: taken.clone(),
        };
        (
            client,
            Self {
                call_id,
                label,
                stream,
                notice,
                first: None,
                items,
                taken,
                told: false,
            },
        )
    }

    /// Waits for the first item, or the reason why there is none. A stream is waited for `at_most` so long:
    /// then it begins without.
    pub async fn begun(mut self, at_most: Duration) -> Result<Self, Error> {
        let first = if self.stream {
            match timeout(at_most, self.items.recv()).await {
                Ok(first) => first,
                Err(_) => return Ok(self),
            }
        } else {
            self.items.recv().await
        };
        match first {
            Some(Ok(first)) => {
                self.first = Some(first);
                Ok(self)
            }
            Some(Err(error)) => Err(error),
            // The call's task is gone: the process is ending.
            None => Err(Error::JournalUnavailable),
        }
    }

    /// Its first item is there.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.first.is_some()
    }
}

impl Stream for Reply {
    /// An error only where it began without its first item: the call was refused.
    type Item = Result<Item, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = match self.first.take() {
            Some(first) => Some(first),
            None => match ready!(self.items.poll_recv(cx)).transpose() {
                Ok(item) => item,
                Err(refused) => return Poll::Ready(Some(Err(refused))),
            },
        };
        let mut taken = self.taken.lock();
        if taken.given_up {
            drop(taken);
            let error = Item::Error(Bytes::from_static(STALLED));
            return Poll::Ready((!std::mem::replace(&mut self.told, true)).then_some(Ok(error)));
        }
        if let Some(Item::Data(frame)) = &item {
            taken.spent = frame.spent;
        }
        drop(taken);
        Poll::Ready(item.map(Ok))
    }
}
