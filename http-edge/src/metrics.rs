//! `/metrics`: what counts and measures in this process, as Prometheus reads it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use framex_core::process::{Metric, MetricKind, Process};
use http::HeaderValue;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

pub(crate) const CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Every number of `process`, now.
pub(crate) fn page(process: &Arc<Process>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Numbers(process.metrics())));
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = text::encode(&mut page, &registry);
    page
}

#[derive(Debug)]
struct Numbers(Vec<Metric>);

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut families: BTreeMap<&str, Vec<&Metric>> = BTreeMap::new();
        for metric in &self.0 {
            families.entry(metric.name).or_default().push(metric);
        }
        for (name, members) in families {
            let Some(first) = members.first() else {
                continue;
            };
            let kind = match first.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
            };
            let mut family = encoder.encode_descriptor(name, first.help, None, kind)?;
            for metric in &members {
                let mut one = family.encode_family(&metric.labels)?;
                match first.kind {
                    MetricKind::Counter => {
                        one.encode_counter::<[(String, String); 0], _, f64>(&metric.value, None)?;
                    }
                    MetricKind::Gauge => one.encode_gauge(&metric.value)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use framex_core::process::Meter;

    use super::*;

    struct Two;

    impl Meter for Two {
        fn read(&self) -> Vec<Metric> {
            let metric = |upstream: &str, value| Metric {
                name: "framex_upstream_requests",
                help: "Requests sent",
                kind: MetricKind::Counter,
                labels: vec![("upstream", upstream.to_owned())],
                value,
            };
            vec![metric("a", 1.0), metric("b \"\n", 2.5)]
        }
    }

    #[test]
    fn numbers_are_told_by_family() {
        let process = Arc::new(Process::default());
        assert_eq!(page(&process), "# EOF\n");
        process.add_meter(Arc::new(Two));
        assert_eq!(
            page(&process),
            "# HELP framex_upstream_requests Requests sent\n\
             # TYPE framex_upstream_requests counter\n\
             framex_upstream_requests_total{upstream=\"a\"} 1.0\n\
             framex_upstream_requests_total{upstream=\"b \\\"\\n\"} 2.5\n\
             # EOF\n"
        );
    }
}
