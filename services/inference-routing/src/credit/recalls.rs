//! Billing says for which accounts it wants idle credit back.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Credit;

/// A watch without a heartbeat for so long is broken.
const SILENCE: Duration = Duration::from_secs(1);
/// Before a broken watch is made again.
const PAUSE: Duration = Duration::from_millis(200);

impl Credit {
    /// Listens until `stop`.
    pub async fn run_recalls(self: &Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.listen() => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn listen(&self) {
        let mut recalls = match self.lender.recalls(self.epoch).await {
            Ok(recalls) => recalls,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "billing's recalls cannot be watched"
                );
                return;
            }
        };
        // What was told while nobody listened is not known.
        self.forget_all();
        while let Ok(Some(Ok(item))) = timeout(SILENCE, recalls.next()).await {
            if let Ok(account) = item.account_id.parse() {
                if item.forget {
                    self.forget(account);
                }
                self.recall(account);
            }
        }
    }
}
