/// The HTTP answer that a provider gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackAnswer {
    /// 2xx when there is nothing to repeat.
    pub http_status: u16,
    /// What the provider wants to read.
    pub body: Vec<u8>,
}

pub(super) fn count(provider: &'static str, outcome: &'static str) {
    metrics::counter!("wanwu_payment_callbacks_total", "provider" => provider, "outcome" => outcome)
        .increment(1);
}

pub(super) fn warn(reason: &'static str, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(reason, error, "a payment notice was refused");
}
