//! Every metric, declared: its name, kind, unit, labels and meaning. `docs/interface.md` has the same table.
//!
//! Names are an interface: dashboards and alerts are made of them.

use std::fmt;

use Kind::{Counter, Gauge, Histogram};
use Of::{Origin, Region};
use Unit::{Bytes, Count, Ratio, Seconds};

/// A metric. Whoever counts names one of the constants here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// What kind of figure it is.
    pub kind: Kind,
    /// What it is counted in.
    pub unit: Unit,
    /// Whose figure it is.
    pub of: Of,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means, in a sentence.
    pub meaning: &'static str,
}

/// The kinds of metric that Prometheus knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, or begins again at 0.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many took how long, by upper bounds.
    Histogram,
}

/// What a metric is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// One thing for each of another.
    Ratio,
}

/// Whose figure it is, and so how those of several origins become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// That of the origin that tells it: the system's is their `sum`.
    Origin,
    /// That of a region, which every origin reads from the same Redis: it is their `max`.
    Region,
}

impl Kind {
    /// Its name in Prometheus' text format.
    pub const fn name(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Count => "count",
            Seconds => "seconds",
            Bytes => "bytes",
            Ratio => "ratio",
        })
    }
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin => "origin",
            Region => "region",
        })
    }
}

/// Declares each metric as a constant, and [`ALL`] of them in the order of their declaration.
macro_rules! metrics {
    ($($constant:ident = $kind:ident($unit:ident) of $of:ident, $name:literal [$($label:literal),*], $meaning:literal;)+) => {
        $(
            #[doc = $meaning]
            pub const $constant: Metric = Metric {
                name: $name,
                kind: $kind,
                unit: $unit,
                of: $of,
                labels: &[$($label),*],
                meaning: $meaning,
            };
        )+

        /// Every metric.
        pub const ALL: &[Metric] = &[$($constant),+];
    };
}

metrics! {
    EDGE_ANSWERS = Counter(Count) of Region, "tidemark_edge_answers_total" ["region", "query", "outcome"],
        "Answers of the edges to queries, by what the cache did: the outcomes of Cache-Status.";
    EDGE_SECONDS = Histogram(Seconds) of Region, "tidemark_edge_seconds" ["region", "query"],
        "Time in which an edge answered a query, from its request to its answer.";
    EDGE_COLLAPSED = Counter(Count) of Region, "tidemark_edge_collapsed_total" ["region", "query"],
        "Answers of the edges that shared another request's load.";
    EDGE_FAILURES = Counter(Count) of Region, "tidemark_edge_failures_total" ["region", "query"],
        "Answers of the edges with a status of 500 and above.";
    EDGE_STORED = Counter(Count) of Region, "tidemark_edge_stored_total" ["region", "query"],
        "Entries that edges have stored in Redis.";
    EDGE_STORED_BYTES = Counter(Bytes) of Region, "tidemark_edge_stored_bytes_total" ["region", "query"],
        "Bytes of the entries that edges have stored in Redis.";
    QUERY_SECONDS = Histogram(Seconds) of Origin, "tidemark_origin_query_seconds" ["query"],
        "Time in which the origin answered a query, from its request to its answer.";
    COMMAND_SECONDS = Histogram(Seconds) of Origin, "tidemark_origin_command_seconds" ["command"],
        "Time in which the origin answered a command, the wait for its invalidation included.";
    SQL_SECONDS = Histogram(Seconds) of Origin, "tidemark_sql_seconds" ["query"],
        "Time that a query's statement took in PostgreSQL and on the way there; not of those that were abandoned.";
    QUERIES_RUNNING = Gauge(Count) of Origin, "tidemark_queries_running" [],
        "Queries that run, each with a connection to PostgreSQL; at most --query-connections.";
    QUERIES_WAITING = Gauge(Count) of Origin, "tidemark_queries_waiting" [],
        "Queries that wait until they may run; at most --query-queue, and as many for each query with a limit.";
    QUERIES_SHED = Counter(Count) of Origin, "tidemark_queries_shed_total" ["query", "reason"],
        "Queries refused with 503 because too many ran: queue-full (too many waited already) or too-long (it waited for --acquire-timeout-ms).";
    QUERIES_COALESCED = Counter(Count) of Origin, "tidemark_queries_coalesced_total" ["query"],
        "Requests that got the answer of a statement which another request was the cause of.";
    QUERIES_ABANDONED = Counter(Count) of Origin, "tidemark_queries_abandoned_total" ["query"],
        "Statements ended because nobody waited for them any more; query is empty for the origin's own.";
    REFRESHES = Counter(Count) of Origin, "tidemark_refreshes_total" ["query", "outcome"],
        "Hot answers that a change touched, of queries with on_change = refresh: loaded, fresh (a read was faster), or failed (the next read fills).";
    CLIENTS_CONNECTED = Gauge(Count) of Origin, "tidemark_clients_connected" [],
        "Clients that are connected, be they idle; at most what file descriptors permit.";
    MEMORY_HITS = Counter(Count) of Origin, "tidemark_memory_hits_total" ["query"],
        "Requests answered from the origin's own memory, without PostgreSQL.";
    MEMORY_ENTRIES = Gauge(Count) of Origin, "tidemark_memory_entries" [],
        "Answers in the origin's own memory.";
    MEMORY_BYTES = Gauge(Bytes) of Origin, "tidemark_memory_bytes" [],
        "Bytes that the answers in the origin's own memory take, about; at most --memory-bytes.";
    RELAY_LEADS = Gauge(Count) of Origin, "tidemark_relay_leads" [],
        "1 while the relay of this process leads, else 0.";
    INVALIDATIONS = Counter(Count) of Origin, "tidemark_invalidations_total" ["kind", "name"],
        "Scopes that were invalidated, each once in a cycle of the relay: a table by its name; a member, a part of one or a whole family by the name of the family.";
    CHANGES = Counter(Count) of Origin, "tidemark_changes_total" ["table"],
        "Changes that were applied, by the table that was changed: a statement counts once for the table as a whole, and once for each family that it touches.";
    APPLIED_SECONDS = Histogram(Seconds) of Origin, "tidemark_applied_seconds" [],
        "Time from commit to applied in every region that answered, at most: from the last look at the outbox that did not show the change. Each cycle of the relay that had changes counts once.";
    EPOCHS = Counter(Count) of Origin, "tidemark_epochs_total" ["region", "reason"],
        "Epochs that this relay or manager has begun, each of which invalidates everything in a region; by why the one before could not go on.";
    AUDIT_SAMPLES = Counter(Count) of Origin, "tidemark_audit_samples_total" ["query", "result"],
        "Cached answers that were held against the database: equal, explained, skipped, or violation, which is a stale answer or a query that does not answer the same twice. query is empty for what is no entry of this catalog.";
    PROMISE_SECONDS = Gauge(Seconds) of Origin, "tidemark_promise_seconds" ["query"],
        "The query's max_staleness; not of those that are never cached.";
    AGE_SECONDS = Gauge(Seconds) of Region, "tidemark_age_seconds" ["region"],
        "Age of the region's tidemark: how old the state is that is proven there. Nothing where there is no tidemark.";
    REDIS_UP = Gauge(Count) of Region, "tidemark_redis_up" ["region"],
        "1 if the region's Redis answered the scrape in time, else 0, and then it has no other figure here.";
    REDIS_KEYSPACE_HITS = Counter(Count) of Region, "tidemark_redis_keyspace_hits_total" ["region"],
        "Redis' keyspace_hits: names that were looked up and found, entries and stamps alike.";
    REDIS_KEYSPACE_MISSES = Counter(Count) of Region, "tidemark_redis_keyspace_misses_total" ["region"],
        "Redis' keyspace_misses: names that were looked up and not found.";
    REDIS_USED_MEMORY = Gauge(Bytes) of Region, "tidemark_redis_used_memory_bytes" ["region"],
        "Redis' used_memory.";
    REDIS_MAXMEMORY = Gauge(Bytes) of Region, "tidemark_redis_maxmemory_bytes" ["region"],
        "Redis' maxmemory; 0 is no limit.";
    REDIS_EVICTED_KEYS = Counter(Count) of Region, "tidemark_redis_evicted_keys_total" ["region"],
        "Redis' evicted_keys: forgotten because memory was full.";
    REDIS_EXPIRED_KEYS = Counter(Count) of Region, "tidemark_redis_expired_keys_total" ["region"],
        "Redis' expired_keys: forgotten because their time was up.";
    REDIS_CONNECTED_CLIENTS = Gauge(Count) of Region, "tidemark_redis_connected_clients" ["region"],
        "Redis' connected_clients.";
    REDIS_FRAGMENTATION = Gauge(Ratio) of Region, "tidemark_redis_fragmentation_ratio" ["region"],
        "Redis' mem_fragmentation_ratio: memory taken from the system for each byte used.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// As `docs/interface.md` has it.
    fn row(metric: &Metric) -> String {
        let labels: Vec<_> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
        format!(
            "| `{}` | {}, {} | {} | {} | {} |",
            metric.name,
            metric.kind.name(),
            metric.unit,
            metric.of,
            labels.join(", "),
            metric.meaning
        )
    }

    #[test]
    fn the_documented_table_is_the_declared_one() {
        let document = include_str!("../../../docs/interface.md");
        let documented: Vec<_> = document
            .lines()
            .filter(|line| line.starts_with("| `tidemark_"))
            .collect();
        let declared: Vec<_> = ALL.iter().map(row).collect();
        assert_eq!(
            documented,
            declared,
            "the table of docs/interface.md has to be:\n{}",
            declared.join("\n")
        );
    }

    #[test]
    fn names_follow_prometheus_conventions() {
        let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            let name = metric.name;
            assert!(name.starts_with("tidemark_"), "{name}");
            assert_eq!(
                name.ends_with("_total"),
                metric.kind == Counter,
                "{name}: counters, and only they, end with _total"
            );
            let unit = match metric.unit {
                Count => continue,
                unit => format!("_{unit}"),
            };
            let stem = name.strip_suffix("_total").unwrap_or(name);
            assert!(stem.ends_with(&unit), "{name} does not end with {unit}");
            assert_eq!(metric.of == Region, metric.labels.contains(&"region"));
        }
    }
}
