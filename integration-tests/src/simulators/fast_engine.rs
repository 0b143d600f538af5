//! An engine that costs next to nothing: one short answer, put together beforehand, on one thread.
//! Figures of speed stand gateways before it. It keeps no record and has no script; `delay=20ms` in the
//! body makes it wait so long. At two addresses it is two engines to who chooses among engines, and the same
//! thread.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

const ANSWER: &str = r#"{"id":"chatcmpl-fast","object":"chat.completion","created":1764000000,"model":"scripted","choices":[{"index":0,"message":{"role":"assistant","content":"OK"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":1,"total_tokens":13}}"#;
/// What routers ask before they use an engine.
const ABOUT: &str = r#"{"object":"list","data":[{"id":"scripted","object":"model","created":1764000000,"owned_by":"us"}],"status":"ok","model_path":"scripted","served_model_name":"scripted","is_generation":true}"#;
const MOST: usize = 1 << 20;

/// Serves it until the process is ended, at `also` too where that is given.
///
/// # Errors
/// When an address cannot be bound.
pub async fn serve(listen: SocketAddr, also: Option<SocketAddr>) -> anyhow::Result<()> {
    let serving = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, async move {
            let mut accepting = Vec::new();
            for address in [Some(listen), also].into_iter().flatten() {
                accepting.push(accept(TcpListener::bind(address).await?));
            }
            futures::future::try_join_all(accepting).await?;
            anyhow::Ok(())
        })
    });
    let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        served = serving => served?,
        // The thread ends with the process.
        _ = stop.recv() => std::process::exit(0),
    }
}

async fn accept(listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::task::spawn_local(connection(stream));
    }
}

async fn connection(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::with_capacity(16 << 10);
    loop {
        let Some((head, length)) = request(&buffer) else {
            if buffer.len() > MOST || !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
            continue;
        };
        let is_call = buffer.starts_with(b"POST");
        if let Some(delay) = delay(&buffer[head..length]) {
            tokio::time::sleep(delay).await;
        }
        buffer.drain(..length);
        let body = if is_call { ANSWER } else { ABOUT };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The bytes of a request's head and of all of it, when it is whole.
fn request(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?;
    let header = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    if header("transfer-encoding").is_some() {
        let end = find(&bytes[head..], b"0\r\n\r\n")? + 5;
        return Some((head, head + end));
    }
    let body: usize = header("content-length").map_or(Some(0), |n| n.parse().ok())?;
    (bytes.len() >= head + body).then_some((head, head + body))
}

fn delay(body: &[u8]) -> Option<Duration> {
    const MARK: &[u8] = b"delay=";
    let rest = &body[find(body, MARK)? + MARK.len()..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    let millis = digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    (millis > 0).then(|| Duration::from_millis(millis))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_when_its_body_is() {
        let plain = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(request(plain), Some((38, 43)));
        assert_eq!(request(&plain[..42]), None);
        assert_eq!(request(b"GET / HTTP/1.1\r\n\r\n"), Some((18, 18)));
        let chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        assert_eq!(request(chunked), Some((47, chunked.len())));
    }

    #[test]
    fn a_delay_is_read_from_the_body() {
        assert_eq!(delay(b"{\"delay=20ms\"}"), Some(Duration::from_millis(20)));
        assert_eq!(delay(b"{\"delay=0ms\"}"), None);
        assert_eq!(delay(b"{}"), None);
    }
}
