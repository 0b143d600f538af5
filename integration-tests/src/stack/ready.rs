use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(2);

/// How to see that a process is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Ready {
    /// It runs.
    Alive,
    /// It takes connections.
    Tcp {
        /// `host:port`.
        address: String,
    },
    /// A `GET` answers with success.
    Http {
        /// The whole address.
        url: String,
    },
    /// PostgreSQL lets one in.
    Postgres {
        /// The whole address, with the password.
        url: String,
    },
    /// An AMQP broker begins its handshake.
    Amqp {
        /// `host:port`.
        address: String,
    },
}

impl Ready {
    /// Looks once.
    pub(crate) async fn look(&self) -> Result<(), String> {
        let look = async {
            match self {
                Self::Alive => Ok(()),
                Self::Tcp { address } => TcpStream::connect(address)
                    .await
                    .map(drop)
                    .map_err(|e| e.to_string()),
                Self::Http { url } => http(url).await,
                Self::Postgres { url } => {
                    let connection = PgConnection::connect(url).await;
                    connection.map(drop).map_err(|e| e.to_string())
                }
                Self::Amqp { address } => amqp(address).await.map_err(|e| e.to_string()),
            }
        };
        timeout(LOOK, look)
            .await
            .unwrap_or_else(|_| Err("no answer".to_owned()))
    }
}

/// A plain request by hand: no client, no TLS, no proxy.
async fn http(url: &str) -> Result<(), String> {
    let address = url
        .strip_prefix("http://")
        .ok_or("only http:// can be looked at")?;
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let mut stream = TcpStream::connect(host).await.map_err(|e| e.to_string())?;
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    stream
        .take(4096)
        .read_to_end(&mut answer)
        .await
        .map_err(|e| e.to_string())?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).unwrap_or_default();
    if status.starts_with('2') {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Err(format!("{url} answers {status}: {}", body.trim()))
}

async fn amqp(address: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
    // A method frame on channel 0: Connection.Start.
    let mut frame = [0; 3];
    stream.read_exact(&mut frame).await?;
    if frame == [1, 0, 0] {
        Ok(())
    } else {
        Err(std::io::Error::other("not an AMQP 0-9-1 broker"))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn answering(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(answer).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn only_success_is_ready() {
        let ok = answering(b"HTTP/1.1 200 OK\r\n\r\nok").await;
        assert_eq!(
            Ready::Http {
                url: format!("http://{ok}/ready")
            }
            .look()
            .await,
            Ok(())
        );
        let not = answering(b"HTTP/1.1 503 No\r\n\r\nmigrate first").await;
        let why = Ready::Http {
            url: format!("http://{not}/ready"),
        }
        .look()
        .await
        .unwrap_err();
        assert!(why.contains("migrate first"), "{why}");
    }

    #[tokio::test]
    async fn a_broker_is_told_from_a_web_server() {
        let broker = answering(&[1, 0, 0, 0]).await;
        assert_eq!(Ready::Amqp { address: broker }.look().await, Ok(()));
        let web = answering(b"HTTP/1.1 400 Bad").await;
        assert!(Ready::Amqp { address: web }.look().await.is_err());
    }
}
