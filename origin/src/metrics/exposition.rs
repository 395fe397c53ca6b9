//! Prometheus' text format: what this process has counted, and what a scrape adds to it.

use std::{
    fmt::{Display, Write as _},
    sync::LazyLock,
    time::Duration,
};

use metrics_exporter_prometheus::{
    PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
    formatting::{sanitize_label_value, write_help_line, write_type_line},
};
use tokio::time;

use super::declared::{self, Kind, Metric, Of, Unit};

/// The media type of a [`Page`]: Prometheus' text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The upper bounds of a histogram's buckets, in seconds: from a hit to a statement that is cut off.
const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// How often what was measured is put into its buckets where nobody scrapes: until then each measurement
/// takes memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// The way to what has been counted in this process.
#[derive(Clone)]
pub struct Exposition(PrometheusHandle);

impl Exposition {
    /// Begins to count, if nobody has yet: a process has one set of metrics.
    pub fn start() -> Self {
        static HANDLE: LazyLock<PrometheusHandle> = LazyLock::new(|| {
            let recorder = recorder();
            let handle = recorder.handle();
            // Fails only where there is one already, and this is the one place that sets it.
            let _ = metrics::set_global_recorder(recorder);
            describe();
            handle
        });
        Self(HANDLE.clone())
    }

    /// Everything counted so far.
    pub(crate) fn page(&self) -> Page {
        Page(self.0.render())
    }

    /// Bounds what measurements take, for ever. It may be dropped at any moment.
    pub(crate) async fn keep_up(self) {
        loop {
            time::sleep(UPKEEP).await;
            self.0.run_upkeep();
        }
    }
}

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new()
        .set_buckets(&BUCKETS)
        // It refuses to have none, and nothing else.
        .unwrap_or_else(|_| PrometheusBuilder::new())
        .build_recorder()
}

fn describe() {
    for metric in declared::ALL {
        let (name, meaning) = (metric.name, metric.meaning);
        let unit = match metric.unit {
            Unit::Count | Unit::Ratio => metrics::Unit::Count,
            Unit::Seconds => metrics::Unit::Seconds,
            Unit::Bytes => metrics::Unit::Bytes,
        };
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(name, unit, meaning),
            Kind::Gauge => metrics::describe_gauge!(name, unit, meaning),
            Kind::Histogram => metrics::describe_histogram!(name, unit, meaning),
        }
        // What is not there can't be seen to grow.
        if (metric.kind, metric.of) == (Kind::Gauge, Of::Origin) && metric.labels.is_empty() {
            metrics::gauge!(name).set(0.0);
        }
    }
}

/// A page of [`CONTENT_TYPE`].
pub(crate) struct Page(String);

impl Page {
    /// Begins a metric: all its samples follow.
    pub(crate) fn metric(&mut self, metric: &Metric) {
        write_help_line(&mut self.0, metric.name, None, None, metric.meaning);
        write_type_line(&mut self.0, metric.name, None, None, metric.kind.name());
    }

    /// A sample of the metric that has been begun; values for its labels, in their order.
    pub(crate) fn sample(&mut self, metric: &Metric, labels: &[&str], value: impl Display) {
        self.0.push_str(metric.name);
        let labels = metric.labels.iter().zip(labels);
        for (place, (name, value)) in labels.enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let value = sanitize_label_value(value);
            let _ = write!(self.0, "{before}{name}=\"{value}\"");
        }
        let end = if metric.labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    /// The whole page.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}
