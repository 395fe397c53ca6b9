//! Every metric of the origin: its name, unit, labels and meaning, and how they are shown.
//!
//! Names are an interface: dashboards and alerts are made of them. What is counted is counted through
//! the functions here, so that no name or label is written twice.

use std::sync::LazyLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tidemark_shared::audit::Finding;

/// The media type of [`Exposition::render`]: Prometheus' text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Cached answers that the audit has looked at; a count. Labels: `query` (empty where the sample
/// was no entry of this catalog), `result` (`equal`, `explained`, `violation` or `skipped`). Any
/// `violation` is a stale answer, or a query that does not answer the same twice.
pub const AUDIT_SAMPLES: &str = "tidemark_audit_samples_total";

/// The way to what has been counted in this process.
#[derive(Clone)]
pub struct Exposition(PrometheusHandle);

impl Exposition {
    /// Begins to count, if nobody has yet: a process has one set of metrics.
    pub fn start() -> Self {
        static HANDLE: LazyLock<PrometheusHandle> = LazyLock::new(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            // Fails only where there is one already, and this is the one place that sets it.
            let _ = metrics::set_global_recorder(recorder);
            metrics::describe_counter!(
                AUDIT_SAMPLES,
                metrics::Unit::Count,
                "Cached answers that were held against the database, by query and result."
            );
            handle
        });
        Self(HANDLE.clone())
    }

    /// Everything counted so far, as [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        self.0.render()
    }
}

/// Shows a query's findings as 0 before there are any: what is not there can't be seen to grow.
pub(crate) fn expect_audit(query: &str) {
    for finding in Finding::ALL {
        audited(query, finding, 0);
    }
}

/// Counts one audited sample; `query` is empty where it was no entry of this catalog.
pub(crate) fn count_audit(query: &str, finding: Finding) {
    audited(query, finding, 1);
}

fn audited(query: &str, finding: Finding, samples: u64) {
    metrics::counter!(
        AUDIT_SAMPLES,
        "query" => query.to_owned(),
        "result" => finding.name(),
    )
    .increment(samples);
}
