//! Tidemark beside what users would pick instead, in one run on the same data.
//!
//! ```text
//! cli ──► workload ──► outcome (JSON) ──► report (docs/benchmarks.md, SVG)
//!            │
//!            ├─► site: PostgreSQL, Redis, databases, the catalog of a run
//!            ├─► contender: whoever answers, started on the site
//!            ├─► load: wrk, and what it tells
//!            └─► usage: CPU and memory of processes
//! ```
//!
//! [`running`] is for the small benchmarks that measure a running demo: `bench/freshness`, `bench/precision`.
//!
//! Absolute figures drift on shared machines. So everything is measured in short rounds, in each of which
//! everybody has a turn, and compared within the round: [`statistics`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod cli;
pub mod contender;
pub mod load;
pub mod report;
pub mod results;
pub mod running;
pub mod scale;
pub mod site;
pub mod statistics;
pub mod usage;
pub mod workload;

use std::fmt::Display;

/// Tells whoever waits what happens.
pub fn say(what: impl Display) {
    eprintln!("bench: {what}");
}
