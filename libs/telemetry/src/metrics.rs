use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// Bounds of histograms in seconds: from a tenth of a millisecond to half a minute.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

impl Metrics {
    pub(crate) fn install(service: &str) -> Result<Self, BuildError> {
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
            .add_global_label("service", service)
            .install_recorder()
            .map(Self)
    }

    /// The metrics as Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Moves observations into their buckets; without it they pile up until the next rendering.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}
