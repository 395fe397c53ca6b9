//! Every metric of the origin: its name, unit, labels and meaning, and how they are shown.
//!
//! Names are an interface: dashboards and alerts are made of them. What is counted is counted through
//! the functions here, so that no name or label is written twice.

use std::sync::LazyLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tidemark_shared::audit::Finding;

use crate::gate::Shed;

/// The media type of [`Exposition::render`]: Prometheus' text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Cached answers that the audit has looked at; a count. Labels: `query` (empty where the sample
/// was no entry of this catalog), `result` (`equal`, `explained`, `violation` or `skipped`). Any
/// `violation` is a stale answer, or a query that does not answer the same twice.
pub const AUDIT_SAMPLES: &str = "tidemark_audit_samples_total";

/// Queries that run, each with a connection to PostgreSQL; a number of them. At most
/// `--query-connections`.
pub const QUERIES_RUNNING: &str = "tidemark_queries_running";

/// Queries that wait until they may run; a number of them. At most `--query-queue`, and as many for each
/// query that has a `limit`.
pub const QUERIES_WAITING: &str = "tidemark_queries_waiting";

/// Queries that were refused with 503 because too many ran; a count. Labels: `query`, `reason`
/// (`queue-full`: too many waited already; `too-long`: it waited for `--acquire-timeout-ms`).
pub const QUERIES_SHED: &str = "tidemark_queries_shed_total";

/// Requests that got the answer of a statement which another request was the cause of; a count. Labels:
/// `query`.
pub const QUERIES_COALESCED: &str = "tidemark_queries_coalesced_total";

/// Statements that were ended because nobody waited for them any more; a count. Labels: `query` (empty
/// for the origin's own).
pub const QUERIES_ABANDONED: &str = "tidemark_queries_abandoned_total";

/// Hot answers that a change touched and that were to be loaded before anybody read them
/// (`on_change = "refresh"`); a count. Labels: `query`, `outcome` (`loaded`; `fresh`: a read was faster;
/// `failed`: the next read fills).
pub const REFRESHES: &str = "tidemark_refreshes_total";

/// Clients that are connected, be they idle; a number of connections. At most what file descriptors permit.
pub const CLIENTS_CONNECTED: &str = "tidemark_clients_connected";

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
            metrics::describe_gauge!(QUERIES_RUNNING, metrics::Unit::Count, "Queries that run.");
            metrics::describe_gauge!(
                QUERIES_WAITING,
                metrics::Unit::Count,
                "Queries that wait until they may run."
            );
            metrics::describe_counter!(
                QUERIES_SHED,
                metrics::Unit::Count,
                "Queries refused because too many ran, by query and reason."
            );
            metrics::describe_counter!(
                QUERIES_COALESCED,
                metrics::Unit::Count,
                "Requests answered by a statement that another one was the cause of, by query."
            );
            metrics::describe_counter!(
                QUERIES_ABANDONED,
                metrics::Unit::Count,
                "Statements ended because nobody waited for them any more, by query."
            );
            metrics::describe_counter!(
                REFRESHES,
                metrics::Unit::Count,
                "Hot answers to be loaded after a change, by query and outcome."
            );
            metrics::describe_gauge!(
                CLIENTS_CONNECTED,
                metrics::Unit::Count,
                "Clients that are connected."
            );
            // What is not there can't be seen to grow.
            for level in [QUERIES_RUNNING, QUERIES_WAITING, CLIENTS_CONNECTED] {
                metrics::gauge!(level).set(0.0);
            }
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

/// One of those that a gauge counts, until it is dropped.
#[derive(Debug)]
pub(crate) struct Level(&'static str);

impl Level {
    /// A query that runs.
    pub(crate) fn running() -> Self {
        Self::of(QUERIES_RUNNING)
    }

    /// A query that waits until it may run.
    pub(crate) fn waiting() -> Self {
        Self::of(QUERIES_WAITING)
    }

    /// A client that is connected.
    pub(crate) fn connected() -> Self {
        Self::of(CLIENTS_CONNECTED)
    }

    fn of(name: &'static str) -> Self {
        metrics::gauge!(name).increment(1.0);
        Self(name)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        metrics::gauge!(self.0).decrement(1.0);
    }
}

/// Shows what may happen to a query as 0 before it has.
pub(crate) fn expect_query(query: &str) {
    for reason in Shed::ALL {
        shed(query, reason, 0);
    }
    for counter in [QUERIES_COALESCED, QUERIES_ABANDONED] {
        metrics::counter!(counter, "query" => query.to_owned()).increment(0);
    }
}

/// Counts a query that was refused because too many ran.
pub(crate) fn count_shed(query: &str, reason: Shed) {
    shed(query, reason, 1);
}

/// Counts a request that shared another one's statement.
pub(crate) fn count_coalesced(query: &str) {
    metrics::counter!(QUERIES_COALESCED, "query" => query.to_owned()).increment(1);
}

/// Counts a statement that nobody waited for any more.
pub(crate) fn count_abandoned(query: &str) {
    metrics::counter!(QUERIES_ABANDONED, "query" => query.to_owned()).increment(1);
}

fn shed(query: &str, reason: Shed, queries: u64) {
    metrics::counter!(
        QUERIES_SHED,
        "query" => query.to_owned(),
        "reason" => reason.name(),
    )
    .increment(queries);
}

/// What became of a hot answer that a change touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// It was loaded.
    Loaded,
    /// It had been loaded by a read.
    Fresh,
    /// It could not be loaded.
    Failed,
}

impl Refreshed {
    const ALL: [Self; 3] = [Self::Loaded, Self::Fresh, Self::Failed];

    const fn name(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Fresh => "fresh",
            Self::Failed => "failed",
        }
    }
}

/// Shows a query's refreshes as 0 before there are any.
pub(crate) fn expect_refreshes(query: &str) {
    for outcome in Refreshed::ALL {
        refreshed(query, outcome, 0);
    }
}

/// Counts a hot answer that a change touched.
pub(crate) fn count_refresh(query: &str, outcome: Refreshed) {
    refreshed(query, outcome, 1);
}

fn refreshed(query: &str, outcome: Refreshed, answers: u64) {
    metrics::counter!(
        REFRESHES,
        "query" => query.to_owned(),
        "outcome" => outcome.name(),
    )
    .increment(answers);
}
