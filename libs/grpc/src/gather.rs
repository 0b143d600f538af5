//! What the calls of a connection say in one turn of the runtime goes out together.
//!
//! A task that has something to say wakes its connection, which runs right after it: a frame, a record of
//! TLS, a write and at the peer a read for each of sixteen tokens that came at the same moment. So a
//! connection lets those that are ready run first, once, before it writes a little.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// As much is no little any more: it goes out at once.
const MUCH: usize = 4096;

/// The socket of a connection whose calls are many and say little.
#[derive(Debug)]
pub(crate) struct Gather<S> {
    inner: S,
    /// The others were let run since the last write.
    waited: bool,
}

impl<S> Gather<S> {
    pub(crate) const fn new(inner: S) -> Self {
        Self {
            inner,
            waited: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

// Not vectored: HTTP/2 puts frames below 1 KiB one behind the other then, and does not write each by itself.
impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.len() < MUCH && !mem::replace(&mut self.waited, true) {
            // Woken by itself, a task goes behind all that are ready.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf));
        self.waited = false;
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use bytes::Bytes;
    use futures::{StreamExt as _, future::join_all, stream};
    use http::{Request, Response};
    use http_body_util::{BodyExt as _, Empty, StreamBody};
    use hyper::{body::Frame, client::conn::http2 as client, server::conn::http2 as server};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        sync::broadcast,
    };

    use super::*;

    const CALLS: usize = 16;
    const TURNS: usize = 50;

    /// Counts what is written.
    struct Counted(DuplexStream, Arc<AtomicUsize>);

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn tokens_of_many_calls_that_come_at_once_are_few_writes() {
        let (ours, theirs) = duplex(1 << 20);
        let writes = Arc::new(AtomicUsize::new(0));
        let (tokens, _) = broadcast::channel::<Bytes>(TURNS);
        let (spoken, counted) = (tokens.clone(), Counted(ours, writes.clone()));
        let answer = move |_: Request<hyper::body::Incoming>| {
            let said = stream::unfold(spoken.subscribe(), async |mut said| {
                let token = said.recv().await.ok()?;
                Some((Ok::<_, Infallible>(Frame::data(token)), said))
            });
            let body = StreamBody::new(said.take(TURNS).boxed());
            async { Ok::<_, Infallible>(Response::new(body)) }
        };
        tokio::spawn(async move {
            let io = TokioIo::new(Gather::new(counted));
            server::Builder::new(TokioExecutor::new())
                .serve_connection(io, hyper::service::service_fn(answer))
                .await
        });
        let (sender, connection) = client::handshake(TokioExecutor::new(), TokioIo::new(theirs))
            .await
            .unwrap();
        tokio::spawn(connection);
        let answers = join_all((0..CALLS).map(|_| {
            let mut sender = sender.clone();
            async move {
                sender
                    .send_request(Request::new(Empty::<Bytes>::new()))
                    .await
            }
        }));
        let answers = answers.await.into_iter().map(Result::unwrap);
        let reading = join_all(answers.map(|answer| answer.into_body().collect()));
        let before = writes.load(Ordering::Relaxed);
        let speaking = tokio::spawn(async move {
            for _ in 0..TURNS {
                tokens.send(Bytes::from_static(&[b'x'; 300])).unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        });
        for whole in reading.await {
            assert_eq!(whole.unwrap().to_bytes().len(), TURNS * 300);
        }
        speaking.await.unwrap();
        // One a turn, and some for windows and ends; without, one a token.
        let written = writes.load(Ordering::Relaxed) - before;
        assert!(written < 3 * TURNS, "{written} writes");
    }

    #[tokio::test]
    async fn a_little_waits_one_turn_and_much_does_not() {
        let (ours, mut theirs) = duplex(2 * MUCH);
        let mut gather = Gather::new(ours);
        let much = [b'x'; MUCH];
        for (said, waits) in [(&much[..1], true), (&much, false), (&much[..1], true)] {
            let mut polled = 0;
            std::future::poll_fn(|cx| {
                polled += 1;
                Pin::new(&mut gather).poll_write(cx, said)
            })
            .await
            .unwrap();
            assert_eq!(polled, if waits { 2 } else { 1 });
        }
        gather.shutdown().await.unwrap();
        let mut came = Vec::new();
        theirs.read_to_end(&mut came).await.unwrap();
        assert_eq!(came.len(), MUCH + 2);
    }
}
