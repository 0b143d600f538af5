use std::future::Future;

use tonic::Status;

use crate::{Item, Subscription};

/// The owner of the values, as a holder reaches it.
pub trait Source: Send + Sync + 'static {
    /// What is watched.
    type Item: Item;

    /// Asks for one value as it is now. NOT_FOUND is an answer: there is none.
    fn ask(&self, key: &str) -> impl Future<Output = Result<Self::Item, Status>> + Send;

    /// Opens the stream of changes; `None` is a heartbeat.
    fn watch(&self) -> impl Future<Output = Result<Subscription<Self::Item>, Status>> + Send;
}
