use std::{error::Error, fmt::Write, time::Duration};

use crate::ConfigError;

/// Longest error text that is kept with an event, in bytes.
const MAX_TEXT: usize = 1000;

/// The broker did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    #[error("the broker is not configured")]
    Config(#[from] ConfigError),
    #[error("the broker failed")]
    Amqp(#[from] lapin::Error),
    #[error("the broker did not answer in time")]
    Timeout,
    #[error("the broker ended the subscription to {0}")]
    Ended(String),
}

/// Waits longer after each failure, with chance in it so that replicas do not return together.
#[derive(Debug)]
pub(crate) struct Backoff(u32);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);

    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// How often it was asked since the last success.
    pub(crate) const fn failures(&self) -> u32 {
        self.0
    }

    pub(crate) const fn reset(&mut self) {
        self.0 = 0;
    }

    /// The next pause: between half and the whole of 100 ms, 200 ms, .. 5 s.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = Self::FIRST
            .saturating_mul(1 << self.0.min(10))
            .min(Self::LONGEST);
        self.0 = self.0.saturating_add(1);
        whole.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }
}

/// An error and what it was caused by, on one line of bounded length.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
    }
    // PostgreSQL text holds no NUL.
    text.replace('\0', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= Duration::from_millis(100));
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(5)));
        assert!(pauses[39] >= Duration::from_millis(2500));
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
    }

    #[test]
    fn long_errors_are_cut_at_a_character() {
        let error = std::io::Error::other("万".repeat(1000));
        assert!(chain(&error).len() <= MAX_TEXT);
    }
}
