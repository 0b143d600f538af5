use std::time::Duration;

use tokio::time::Instant;

use crate::{ProcessConfig, Shell};

impl Shell {
    /// Ends the process's tasks in two stages: it says NOT_SERVING and goes on answering for a
    /// while, then stops. Whether every task ended before the hard end.
    pub(crate) async fn drain(&self, delay: Duration, hard_end: Instant) -> bool {
        self.draining().cancel();
        tokio::time::sleep(delay).await;
        self.stopping().cancel();
        self.tasks().close();
        tokio::time::timeout_at(hard_end, self.tasks().wait())
            .await
            .is_ok()
    }
}

/// When the process ends at the latest if it was told to stop now.
pub(crate) fn hard_end(config: &ProcessConfig) -> Instant {
    Instant::now() + config.hard_end
}
