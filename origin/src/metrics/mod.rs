//! What is counted, and how it is shown.
//!
//! Each metric is [`declared`] once. What happens in this process is counted through the functions here, so
//! that no name or label is written twice; what a region's Redis knows is asked for at each scrape
//! ([`region`]); the [`exposition`] makes Prometheus' text of both.

pub mod declared;
pub mod exposition;
pub(crate) mod region;

use std::time::{Duration, Instant};

use declared::Metric;
use tidemark_shared::{audit::Finding, catalog::Query, history::Doubt, scope::Scope};

use crate::gate::Shed;

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
        declared::AUDIT_SAMPLES.name,
        "query" => query.to_owned(),
        "result" => finding.name(),
    )
    .increment(samples);
}

/// One of those that a gauge counts, until it is dropped.
#[derive(Debug)]
pub(crate) struct Level(Metric);

impl Level {
    /// A query that runs.
    pub(crate) fn running() -> Self {
        Self::of(declared::QUERIES_RUNNING)
    }

    /// A query that waits until it may run.
    pub(crate) fn waiting() -> Self {
        Self::of(declared::QUERIES_WAITING)
    }

    /// A client that is connected.
    pub(crate) fn connected() -> Self {
        Self::of(declared::CLIENTS_CONNECTED)
    }

    /// A relay that leads.
    pub(crate) fn leading() -> Self {
        Self::of(declared::RELAY_LEADS)
    }

    fn of(metric: Metric) -> Self {
        metrics::gauge!(metric.name).increment(1.0);
        Self(metric)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        metrics::gauge!(self.0.name).decrement(1.0);
    }
}

/// Measures from now until it is dropped, whatever comes of it.
pub(crate) struct Stopwatch {
    since: Instant,
    histogram: metrics::Histogram,
}

impl Stopwatch {
    /// Of the answer to a query.
    pub(crate) fn of_query(query: &str) -> Self {
        let name = declared::QUERY_SECONDS.name;
        Self::start(metrics::histogram!(name, "query" => query.to_owned()))
    }

    /// Of the answer to a command.
    pub(crate) fn of_command(command: &str) -> Self {
        let name = declared::COMMAND_SECONDS.name;
        Self::start(metrics::histogram!(name, "command" => command.to_owned()))
    }

    fn start(histogram: metrics::Histogram) -> Self {
        Self {
            since: Instant::now(),
            histogram,
        }
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        self.histogram.record(self.since.elapsed());
    }
}

/// Shows what may happen to a query as 0 before it has, and what it promises.
pub(crate) fn expect_query(query: &Query) {
    let name = &query.name;
    for reason in Shed::ALL {
        shed(name, reason, 0);
    }
    for counter in [
        declared::QUERIES_COALESCED,
        declared::QUERIES_ABANDONED,
        declared::MEMORY_HITS,
    ] {
        of_query(counter, name).increment(0);
    }
    if query.policy.is_cacheable() {
        metrics::gauge!(declared::PROMISE_SECONDS.name, "query" => name.clone())
            .set(query.policy.max_staleness);
    }
}

/// Counts a query that was refused because too many ran.
pub(crate) fn count_shed(query: &str, reason: Shed) {
    shed(query, reason, 1);
}

/// Counts a request that shared another one's statement.
pub(crate) fn count_coalesced(query: &str) {
    of_query(declared::QUERIES_COALESCED, query).increment(1);
}

/// Counts a statement that nobody waited for any more.
pub(crate) fn count_abandoned(query: &str) {
    of_query(declared::QUERIES_ABANDONED, query).increment(1);
}

/// Counts a request that was answered from the memory.
pub(crate) fn count_memory_hit(query: &str) {
    of_query(declared::MEMORY_HITS, query).increment(1);
}

/// Counts a query's statement, which has taken so long.
pub(crate) fn count_sql(query: &str, took: Duration) {
    metrics::histogram!(declared::SQL_SECONDS.name, "query" => query.to_owned()).record(took);
}

/// Shows what the memory holds: so many answers, of so many bytes.
pub(crate) fn show_memory(entries: u64, bytes: u64) {
    for (gauge, level) in [
        (declared::MEMORY_ENTRIES, entries),
        (declared::MEMORY_BYTES, bytes),
    ] {
        // Exact up to 2^53.
        #[expect(clippy::cast_precision_loss)]
        metrics::gauge!(gauge.name).set(level as f64);
    }
}

/// Counts scopes that have been invalidated.
pub(crate) fn count_invalidations(scopes: &[Scope]) {
    for scope in scopes {
        let (kind, name) = match scope {
            Scope::Table(table) => ("table", table),
            Scope::Member { family, .. } => ("member", family),
            Scope::Part { family, .. } => ("part", family),
            Scope::Family(family) => ("family", family),
        };
        metrics::counter!(
            declared::INVALIDATIONS.name,
            "kind" => kind,
            "name" => name.clone(),
        )
        .increment(1);
    }
}

/// Shows a table's changes as 0 before there are any.
pub(crate) fn expect_changes(table: &str) {
    changes(table, 0);
}

/// Counts what changes of a table have recorded and is applied.
pub(crate) fn count_changes(table: &str, records: u64) {
    changes(table, records);
}

fn changes(table: &str, records: u64) {
    metrics::counter!(declared::CHANGES.name, "table" => table.to_owned()).increment(records);
}

/// Counts a cycle after which changes have been applied that were not visible at `unseen`.
pub(crate) fn count_applied(unseen: Instant) {
    metrics::histogram!(declared::APPLIED_SECONDS.name).record(unseen.elapsed());
}

/// Shows a region's epochs as 0 before one begins.
pub(crate) fn expect_region(region: &str) {
    for reason in Doubt::ALL {
        epoch(region, reason, 0);
    }
}

/// Counts an epoch that begins in a region, for this reason.
pub(crate) fn count_epoch(region: &str, reason: Doubt) {
    epoch(region, reason, 1);
}

fn epoch(region: &str, reason: Doubt, epochs: u64) {
    metrics::counter!(
        declared::EPOCHS.name,
        "region" => region.to_owned(),
        "reason" => reason.name(),
    )
    .increment(epochs);
}

fn of_query(counter: Metric, query: &str) -> metrics::Counter {
    metrics::counter!(counter.name, "query" => query.to_owned())
}

fn shed(query: &str, reason: Shed, queries: u64) {
    metrics::counter!(
        declared::QUERIES_SHED.name,
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
        declared::REFRESHES.name,
        "query" => query.to_owned(),
        "outcome" => outcome.name(),
    )
    .increment(answers);
}
