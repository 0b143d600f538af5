use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::buckets::{GEN_AI, SECONDS};

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    pub(crate) fn install(service: &str) -> Result<Self, BuildError> {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let mut builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, SECONDS)?;
        for (name, bounds) in GEN_AI {
            // A whole name goes before its end.
            builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds)?;
        }
        builder
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
