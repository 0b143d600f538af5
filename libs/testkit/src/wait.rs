use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often the condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within `limit`; the text names `what` was waited for.
pub async fn wait_for<F: Future<Output = bool>>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> F,
) {
    let deadline = Instant::now() + limit;
    while !condition().await {
        assert!(
            Instant::now() < deadline,
            "waited {limit:?} in vain for: {what}"
        );
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_ends_when_the_condition_holds() {
        let mut asked = 0;
        wait_for("three questions", Duration::from_secs(5), || {
            asked += 1;
            let enough = asked == 3;
            async move { enough }
        })
        .await;
        assert_eq!(asked, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "in vain for: godot")]
    async fn it_names_what_did_not_come() {
        wait_for("godot", Duration::from_millis(50), || async { false }).await;
    }
}
