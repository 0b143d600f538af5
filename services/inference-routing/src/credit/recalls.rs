//! Billing says for which accounts it wants idle credit back.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Credit;

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
        while let Some(Ok(item)) = recalls.next().await {
            if let Ok(account) = item.account_id.parse() {
                self.recall(account);
            }
        }
    }
}
