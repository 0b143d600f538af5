//! A connection's last moment.
//!
//! A socket that is closed while bytes wait in it unread resets its connection, and a reset takes from
//! the peer what it has not read yet: our goodbye, which says which of its calls we never looked at. So
//! what still comes is read, and thrown away.

use std::{
    io, net,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use tokio::{
    io::{AsyncWriteExt, copy, sink},
    net::TcpStream,
};

/// How long a peer may take to close its end.
const LONGEST: Duration = Duration::from_secs(1);

/// Keeps the socket of a connection open after the connection's end.
pub(super) struct Linger(OwnedFd);

impl Linger {
    /// The socket is this connection's.
    pub(super) fn of(tcp: &TcpStream) -> io::Result<Self> {
        tcp.as_fd().try_clone_to_owned().map(Self)
    }

    /// Closes our end, and reads what still comes until the peer closes its own, at most for a second.
    pub(super) async fn read_out(self) {
        // Known to the runtime only now: before, it would be woken twice for all that comes.
        let Ok(mut socket) = TcpStream::from_std(net::TcpStream::from(self.0)) else {
            return;
        };
        let rest = async {
            socket.shutdown().await?;
            copy(&mut socket, &mut sink()).await
        };
        // Whatever becomes of it, nothing is left to say.
        let _ = tokio::time::timeout(LONGEST, rest).await;
    }
}
