use std::{sync::Weak, time::Duration};

use super::pool::Pool;

/// How often a name is looked up.
const EVERY: Duration = Duration::from_secs(5);
/// How soon it is looked up again while it has no address.
const WHILE_EMPTY: Duration = Duration::from_millis(500);

/// Keeps the pool at the addresses of `name` (`host:port`) for as long as the pool lives. A name
/// that cannot be looked up keeps what it had.
pub(super) async fn follow(name: String, pool: Weak<Pool>) {
    loop {
        let places: Vec<String> = match tokio::net::lookup_host(&name).await {
            Ok(addresses) => addresses.map(|address| address.to_string()).collect(),
            Err(error) => {
                tracing::warn!(%error, "a peer's name cannot be looked up");
                Vec::new()
            }
        };
        let pause = if places.is_empty() {
            WHILE_EMPTY
        } else {
            EVERY
        };
        if !places.is_empty() {
            let Some(pool) = pool.upgrade() else { return };
            pool.replace(places);
        }
        tokio::time::sleep(pause).await;
    }
}
