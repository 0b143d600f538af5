//! Connections whose client takes nothing of what is written to it, or too little: given up after a
//! while.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use metrics::counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::pace::{Pace, TooSlow};

/// A connection whose peer has to take what is written at some pace. What is not written yet lies
/// in buffers of bounded size; with the connection they are given back, and its calls end.
pub struct Patient<T> {
    io: T,
    pace: Pace,
}

impl<T> Patient<T> {
    /// A connection that is given up when its peer takes things more slowly than at this pace.
    pub const fn new(io: T, pace: Pace) -> Self {
        Self { io, pace }
    }

    fn watch(
        &mut self,
        written: Poll<io::Result<usize>>,
        task: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => self.pace.moved(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let cut = match ready!(self.pace.poll(task)) {
                    TooSlow::Wait => counter!("edge_stalled_connections_total"),
                    TooSlow::Rate => counter!("edge_slow_readers_total", "cut" => "connection"),
                };
                cut.increment(1);
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(task, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(task, bytes);
        this.watch(written, task)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(task, pieces);
        this.watch(written, task)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(task)
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(task)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::{sleep, timeout},
    };

    use super::*;
    use crate::pace::LeastRate;

    /// A pace at which something has to be taken in `stall` milliseconds.
    fn pace(least: u64, grace: u64, stall: u64) -> Pace {
        let least = LeastRate {
            bytes: least,
            grace: Duration::from_millis(grace),
        };
        Pace::takes(least, Duration::from_millis(stall))
    }

    /// Writes eight bytes to a client that takes one of them every 80 ms.
    async fn written_in_steps(pace: Pace) -> io::Result<()> {
        let (ours, mut theirs) = duplex(4);
        let mut ours = Patient::new(ours, pace);
        // With its end the other half comes to its own.
        let written = async move { ours.write_all(b"12345678").await };
        let taken = async {
            let mut byte = [0; 1];
            for _ in 0..8 {
                sleep(Duration::from_millis(80)).await;
                if theirs.read_exact(&mut byte).await.is_err() {
                    break;
                }
            }
        };
        let (written, ()) = tokio::join!(written, taken);
        written
    }

    #[tokio::test]
    async fn who_takes_something_in_time_is_not_given_up() {
        written_in_steps(pace(0, 0, 500)).await.unwrap();
    }

    #[tokio::test]
    async fn who_takes_nothing_is_given_up() {
        let (ours, _theirs) = duplex(4);
        let mut ours = Patient::new(ours, pace(0, 0, 50));
        let written = timeout(Duration::from_secs(5), ours.write_all(b"12345678"));
        let error = written.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_takes_too_little_in_time_is_given_up_and_who_takes_enough_is_not() {
        // Each of its bytes comes 77 ms too late, or 170 ms early.
        let error = written_in_steps(pace(400, 200, 5000)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        written_in_steps(pace(4, 200, 5000)).await.unwrap();
    }
}
