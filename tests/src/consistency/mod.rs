//! The consistency test: a workload on the real stack, and a judge that knows nothing of Tidemark.
//!
//! Writers change rows in every way that PostgreSQL offers, readers ask the edge, and afterwards a
//! [`judge`] decides about every answer whether it kept the promises. It shares no code with the
//! product: what was visible when, it learns from PostgreSQL itself.
//!
//! ```text
//! writers ──► PostgreSQL ──triggers of the test's own──► judge.history ─┐
//!                 ▲                                                     ├─► history ─┐
//! observer ───────┘ snapshots and clock, every millisecond ─────────────┘            ├─► judge ─► report
//! readers ──► edge ──► answers ──────────────────────────────────────────► log ──────┘
//! ```
//!
//! # How an answer is judged
//!
//! Every row carries a version, which is never used twice, and the tag of the transaction that
//! wrote it. An answer lists rows, so it says of *every* row of its tables either "it is here, at
//! this version" or "it is not here". For each of these statements the [`history`] knows at which
//! [`moments`] it can have been true; an answer is one statement of SQL and so one snapshot, hence
//! only the moments at which all of them can have been true at once are left. What remains is what
//! the answer's content proves about its age:
//!
//! - no moment at all: nobody can ever have seen this (torn, uncommitted, of another key);
//! - no moment from `Tidemark-As-Of` on: I1 is broken;
//! - none from the request's start less `max_staleness` on: the promise is broken;
//! - none from a command's commit on, which was answered `applied` before the request began, or
//!   from `Tidemark-At-Least` on: I3 is broken.
//!
//! # When a commit was visible
//!
//! The [`observer`] asks for `now()`, `pg_current_snapshot()` and `clock_timestamp()` in one
//! statement. PostgreSQL reads the first clock before it takes the snapshot and the second one
//! after, so a transaction that the snapshot does not hold was not visible at the first reading, and
//! one that it holds is visible at the second. Between a transaction's last "not yet" and first
//! "yes" lies the moment that it became visible; the judge gives every answer the benefit of that
//! doubt, which is a few milliseconds, and of no other.

pub mod chaos;
pub mod faults;
pub mod history;
pub mod judge;
pub mod line;
pub mod log;
pub mod memory;
pub mod moments;
pub mod observer;
pub mod plan;
pub mod random;
pub mod readers;
pub mod report;
pub mod run;
pub mod workload;
pub mod world;
pub mod writers;

use std::time::{SystemTime, UNIX_EPOCH};

/// This machine's clock, which is PostgreSQL's as well: µs since the Unix epoch.
pub fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}
