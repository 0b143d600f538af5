//! What a replica says of itself by its metrics.

use std::collections::BTreeMap;

use super::{Replica, ScriptedEngine, http};

/// How often a router changed its mind about an engine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changes {
    /// It was left out, or failed on trial.
    pub left_out: f64,
    /// It was trusted again.
    pub trusted: f64,
}

impl Replica {
    /// What its metric of this name says, by the label `by`; of equal ones the sum.
    pub(crate) async fn metric(
        &self,
        name: &str,
        with: &str,
        by: &str,
    ) -> anyhow::Result<BTreeMap<String, f64>> {
        let answer = http().get(format!("{}/metrics", self.admin)).send().await?;
        Ok(read_metric(&answer.text().await?, name, with, by))
    }

    /// gRPC calls that it has under way.
    pub(crate) async fn under_way(&self) -> anyhow::Result<f64> {
        let by_service = self.metric("wanwu_rpc_in_flight", "", "service").await?;
        Ok(by_service.values().sum())
    }

    /// How often it, a router, changed its mind about an engine since it started.
    pub(crate) async fn changes(&self, engine: &ScriptedEngine) -> anyhow::Result<Changes> {
        let of_engine = format!("engine=\"{}\"", engine.url);
        let by = self.metric("inference_routing_engine_changes", &of_engine, "to");
        let by = by.await?;
        let of = |to: &str| by.get(to).copied().unwrap_or_default();
        Ok(Changes {
            left_out: of("ejected"),
            trusted: of("trusted"),
        })
    }
}

/// A line is `name{label="value",...} number`.
fn read_metric(text: &str, name: &str, with: &str, by: &str) -> BTreeMap<String, f64> {
    let mut values = BTreeMap::new();
    for line in text.lines() {
        let Some((labels, value)) = line
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('{'))
            .and_then(|rest| rest.split_once("} "))
        else {
            continue;
        };
        let marker = format!("{by}=\"");
        let label = labels
            .split_once(&marker)
            .and_then(|(_, rest)| rest.split_once('"'));
        if labels.contains(with)
            && let (Some((label, _)), Ok(value)) = (label, value.trim().parse::<f64>())
        {
            *values.entry(label.to_owned()).or_default() += value;
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE changes counter\n\
                        changes{model=\"m\",engine=\"a\",to=\"ejected\"} 2\n\
                        changes{model=\"m\",engine=\"b\",to=\"ejected\"} 1\n\
                        changes{model=\"n\",engine=\"a\",to=\"ejected\"} 3\n\
                        changes{model=\"m\",engine=\"a\",to=\"trusted\"} 7\n\
                        changes_other{engine=\"a\"} 9\n\
                        # TYPE calls gauge\n\
                        calls{service=\"s\"} 16\n";

    #[test]
    fn a_metric_is_read_by_a_label() {
        let read = read_metric(TEXT, "changes", "to=\"ejected\"", "engine");
        let expected = [("a".to_owned(), 5.0), ("b".to_owned(), 1.0)];
        assert_eq!(read, BTreeMap::from(expected));
    }

    #[test]
    fn a_metric_that_has_only_its_service_is_read_by_that() {
        let read = read_metric(TEXT, "calls", "", "service");
        assert_eq!(read, BTreeMap::from([("s".to_owned(), 16.0)]));
    }
}
