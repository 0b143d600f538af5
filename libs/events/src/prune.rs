//! What was published or applied long ago is forgotten, a bounded part at a time.

use crate::failure::chain;

/// Rows that one statement removes.
pub(crate) const BATCH: i64 = 1000;
/// Statements of one round; the next round goes on.
const STATEMENTS: usize = 10;

/// Removes what is old from a table, until nothing is or the round is over.
pub(crate) async fn prune<F>(table: &'static str, mut remove: impl FnMut() -> F)
where
    F: Future<Output = Result<u64, sqlx::Error>>,
{
    for _ in 0..STATEMENTS {
        match remove().await {
            Ok(removed) => {
                metrics::counter!("wanwu_events_pruned_total", "table" => table).increment(removed);
                if removed < BATCH.unsigned_abs() {
                    return;
                }
            }
            Err(error) => {
                // Nothing waits for it, and the next round tries again.
                tracing::debug!(error = chain(&error), table, "old rows were not removed");
                return;
            }
        }
    }
}
