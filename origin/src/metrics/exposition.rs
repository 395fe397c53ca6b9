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
use tidemark_shared::figure::BOUNDS_US;
use tokio::time;

use super::declared::{self, Kind, Metric, Of, Unit};

/// The media type of a [`Page`]: Prometheus' text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

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
        .set_buckets(&BOUNDS_US.map(seconds))
        // It refuses to have none, and nothing else.
        .unwrap_or_else(|_| PrometheusBuilder::new())
        .build_recorder()
}

/// A bound in seconds.
pub(crate) fn seconds(micros: u32) -> f64 {
    f64::from(micros) / 1e6
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
        let labels = metric.labels.iter().copied().zip(labels.iter().copied());
        self.line(metric.name, "", labels, value);
    }

    /// The samples of one series of the histogram that has been begun: how many measurements were within
    /// each of [`BOUNDS_US`] and not the one before, then how many were beyond the last; and their sum in µs.
    pub(crate) fn histogram(
        &mut self,
        metric: &Metric,
        labels: &[&str],
        within: &[u64],
        micros: u64,
    ) {
        let name = metric.name;
        let labels = metric.labels.iter().copied().zip(labels.iter().copied());
        let bounds = BOUNDS_US.iter().map(|bound| seconds(*bound).to_string());
        let mut count = 0;
        for (bound, within) in bounds.chain(["+Inf".to_owned()]).zip(within) {
            count += within;
            let labels = labels.clone().chain([("le", &*bound)]);
            self.line(name, "_bucket", labels, count);
        }
        let sum = Duration::from_micros(micros).as_secs_f64();
        self.line(name, "_sum", labels.clone(), sum);
        self.line(name, "_count", labels, count);
    }

    fn line<'a>(
        &mut self,
        name: &str,
        suffix: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        value: impl Display,
    ) {
        let labels: Vec<_> = labels
            .map(|(name, value)| format!("{name}=\"{}\"", sanitize_label_value(value)))
            .collect();
        let _ = match &*labels {
            [] => writeln!(self.0, "{name}{suffix} {value}"),
            labels => writeln!(self.0, "{name}{suffix}{{{}}} {value}", labels.join(",")),
        };
    }

    /// The sum of all samples of a counter or gauge.
    pub(crate) fn total(&self, metric: &Metric) -> f64 {
        self.values(metric.name, "").map(|(_, value)| value).sum()
    }

    /// How many measurements of a histogram, in all its series, were within each of [`BOUNDS_US`]; the last
    /// figure is that of all.
    pub(crate) fn within(&self, metric: &Metric) -> [u64; BOUNDS_US.len() + 1] {
        let mut within = [0; _];
        for (labels, value) in self.values(metric.name, "_bucket") {
            let place = BOUNDS_US.iter().position(|bound| {
                let bound = seconds(*bound);
                labels.contains(&format!("le=\"{bound}\""))
            });
            // Whole, and far below 2^53.
            within[place.unwrap_or(BOUNDS_US.len())] += value as u64;
        }
        within
    }

    /// The samples of one name, which this process has written: labels and values.
    fn values(&self, name: &str, suffix: &str) -> impl Iterator<Item = (&str, f64)> {
        let lines = self.0.lines();
        lines.filter_map(move |line| {
            let rest = line.strip_prefix(name)?.strip_prefix(suffix)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            let is_whole = labels.is_empty() || labels.starts_with('{');
            is_whole.then_some((labels, value.parse().ok()?))
        })
    }

    /// The whole page.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::declared::{QUERIES_RUNNING, QUERIES_SHED, SQL_SECONDS};

    #[test]
    fn what_was_written_can_be_read_back() {
        let mut page = Page(String::new());
        page.metric(&SQL_SECONDS);
        let mut measured = [0; BOUNDS_US.len() + 1];
        (measured[0], measured[3], measured[14]) = (1, 2, 3);
        page.histogram(&SQL_SECONDS, &["a"], &measured, 9);
        page.histogram(&SQL_SECONDS, &["le=\"0.5\" {"], &measured, 9);
        page.metric(&QUERIES_SHED);
        page.sample(&QUERIES_SHED, &["a", "queue-full"], 3);
        page.sample(&QUERIES_SHED, &["b", "too long"], 4);
        page.metric(&QUERIES_RUNNING);
        page.sample(&QUERIES_RUNNING, &[], 2);

        assert_eq!(page.total(&QUERIES_SHED), 7.0);
        assert_eq!(page.total(&QUERIES_RUNNING), 2.0);
        let within = page.within(&SQL_SECONDS);
        assert_eq!((within[0], within[2], within[3]), (2, 2, 6));
        assert_eq!((within[13], within[14]), (6, 12));
    }
}
