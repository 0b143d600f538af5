use std::{env, time::Duration};

use uuid::Uuid;
use wanwu_events::BrokerConfig;

/// Queues of one test on the broker that all tests share.
///
/// Every queue's name starts with a prefix of this test's own, so tests run side by side. The
/// broker deletes the queues a minute after nobody uses them.
#[derive(Clone, Debug)]
pub struct TestBroker {
    config: BrokerConfig,
}

impl TestBroker {
    /// Takes the broker at `WANWU_TEST_AMQP_URL`.
    ///
    /// # Panics
    /// When the variable is not set: a test never falls back to a broker that is not for tests.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "it reads the environment")]
    #[allow(
        clippy::disallowed_methods,
        reason = "tests are told by the environment"
    )]
    pub fn new() -> Self {
        let url = env::var("WANWU_TEST_AMQP_URL").expect("WANWU_TEST_AMQP_URL names a broker");
        let config = BrokerConfig {
            queue_prefix: format!("test-{}.", Uuid::new_v4().simple()),
            queue_expires: Some(Duration::from_secs(60)),
            ..BrokerConfig::of(&url)
        };
        Self { config }
    }

    /// The configuration for relays and consumers of this test.
    #[must_use]
    pub fn config(&self) -> BrokerConfig {
        self.config.clone()
    }
}
