use std::{error::Error, future::Future, marker::PhantomData, time::Duration};

use futures::future::BoxFuture;
use prost::Message;
use sqlx::PgConnection;

/// Applies one kind of event.
pub trait Handler<E>: Send + Sync + 'static {
    /// So many events may be handed to [`Handler::handle_all`] at once; 1: each comes alone.
    const BATCH: usize = 1;

    /// Writes the effect of the event in `tx`, which commits together with the record that the
    /// event was applied: the effect happens once, however often the event arrives. Whatever
    /// happens outside `tx` may happen more than once.
    ///
    /// Events come in no order.
    fn handle(
        &self,
        tx: &mut PgConnection,
        event: E,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;

    /// Writes the effects of several events in one transaction. When it fails nothing of it stays,
    /// no try is used up, and the events come again in smaller parts, at last each alone to
    /// [`Handler::handle`]: what is wrong with one is told there.
    fn handle_all(
        &self,
        tx: &mut PgConnection,
        events: Vec<E>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send
    where
        E: Send,
    {
        async move {
            for event in events {
                self.handle(tx, event).await?;
            }
            Ok(())
        }
    }
}

/// The event could not be applied. What `tx` holds is rolled back. The text is kept with the event
/// and shown to operators: no personal data in it.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// It may work later: one of five tries is used up.
    #[error("it may work later")]
    Retry(#[source] Box<dyn Error + Send + Sync>),
    /// It will never work: the event becomes a dead letter at once.
    #[error("it will never work")]
    Reject(#[source] Box<dyn Error + Send + Sync>),
    /// Something that must come first has not come yet: tried again after this time, without
    /// using up a try, for at most a day.
    #[error("what must come first has not come yet")]
    NotYet(Duration),
}

impl HandlerError {
    /// It may work later.
    pub fn retry(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Retry(error.into())
    }

    /// It will never work.
    pub fn reject(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Reject(error.into())
    }
}

impl From<sqlx::Error> for HandlerError {
    fn from(error: sqlx::Error) -> Self {
        Self::retry(error)
    }
}

/// A handler of some event.
pub(crate) trait AnyHandler: Send + Sync + 'static {
    /// So many at once.
    fn batch(&self) -> usize;

    fn apply<'a>(
        &'a self,
        tx: &'a mut PgConnection,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<(), HandlerError>>;

    fn apply_all<'a>(
        &'a self,
        tx: &'a mut PgConnection,
        payloads: Vec<&'a [u8]>,
    ) -> BoxFuture<'a, Result<(), HandlerError>>;
}

/// A handler of `E`, as a handler of bytes.
pub(crate) struct Decoding<E, H> {
    handler: H,
    event: PhantomData<fn(E)>,
}

impl<E, H> Decoding<E, H> {
    pub(crate) const fn new(handler: H) -> Self {
        Self {
            handler,
            event: PhantomData,
        }
    }
}

impl<E: Message + Default + 'static, H: Handler<E>> AnyHandler for Decoding<E, H> {
    fn batch(&self) -> usize {
        H::BATCH.max(1)
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut PgConnection,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(async move {
            let event = E::decode(payload).map_err(HandlerError::reject)?;
            self.handler.handle(tx, event).await
        })
    }

    fn apply_all<'a>(
        &'a self,
        tx: &'a mut PgConnection,
        payloads: Vec<&'a [u8]>,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(async move {
            let events = payloads.into_iter().map(E::decode);
            let events = events.collect::<Result<_, _>>();
            let events = events.map_err(HandlerError::reject)?;
            self.handler.handle_all(tx, events).await
        })
    }
}
