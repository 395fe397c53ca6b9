//! The harness itself, for real: every workload on as little data and in as few rounds as it takes to show that
//! it works. Its figures mean nothing, and that the report says.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't go on ends by panicking"
)]

use std::{env, fs, process::Command};

use tidemark_tests::{postgres, tools};

/// What Tidemark is measured by, as it was set before anything was measured.
const GOALS: [(&str, &str); 22] = [
    (HIT, "≥ 8 × NestJS `CacheInterceptor`"),
    (
        HIT,
        "≥ 3 × the best hand-tuned NestJS (raw text from Redis)",
    ),
    (HIT, "≥ 0.5 × native with one GET"),
    (LOCAL_HIT, "≥ 15 × NestJS `CacheInterceptor`"),
    (LOCAL_HIT, "≥ 0.5 × native from memory"),
    (
        "CPU per hit (user + system of the edge's host), 32 connections",
        "≤ 3 × native with one GET",
    ),
    ("p99 of hits at 16 connections", "≤ 3 × native with one GET"),
    ("miss: time beyond the SQL's own", "≤ 1.5 ms at the median"),
    (
        "the article's workload: mean latency",
        "≥ 20 × lower than uncached",
    ),
    ("… PostgreSQL queries, for each read", "≥ 95 % fewer"),
    ("… hits ÷ possible hits", "≥ 0.97"),
    (
        "… stale answers: own orders missing at all, others' for over 1 s",
        "0, where the peers with event invalidation have more than 0",
    ),
    (
        "writers: single-row inserts a second with capture, orders",
        "≥ 0.75 × without",
    ),
    (
        "writers: single-row inserts a second with capture, order items",
        "≥ 0.75 × without",
    ),
    ("… 1 000-row statements", "≥ 0.95 × without"),
    ("… updates of unused columns, one row", "≥ 0.95 × without"),
    (
        "… updates of unused columns, 1 000 rows",
        "≥ 0.95 × without",
    ),
    ("relay at 5 000 changes a second: CPU", "under half a core"),
    ("… the tidemark's age", "never older than 250 ms"),
    (
        "Redis memory: an entry beyond its body, compressed by `gzip -9`",
        "≤ 256 bytes",
    ),
    (
        "cold start to first answer of the component, precompiled",
        "≤ 5 ms",
    ),
    (
        "hits don't grow with the number of keys: requests a second",
        "≥ 0.8 ×",
    ),
];
const HIT: &str = "hit in Redis, 32 connections, requests a second";
const LOCAL_HIT: &str = "hit in the instance cache, 32 connections, requests a second";

#[test]
fn a_trial_measures_everything_and_reports_it() {
    let folder = postgres::new_folder(&env::temp_dir(), "tidemark-bench-test-").unwrap();
    let (dir, docs) = (folder.path().join("bench"), folder.path().join("docs"));
    let mut command = Command::new(tools::own_binary("tidemark-bench").unwrap());
    command
        .args(["run", "--trial", "--no-peers", "--dir"])
        .arg(&dir)
        .arg("--docs")
        .arg(&docs);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    let page = fs::read_to_string(docs.join("benchmarks.md")).unwrap();
    assert!(page.contains("its figures mean nothing"), "{page}");
    assert!(!page.contains("Not measured yet"), "{page}");
    for (what, goal) in GOALS {
        let row = format!("| {what} | {goal} | ");
        assert!(page.contains(&row), "{row} is missing in:\n{page}");
    }
    for row in page
        .lines()
        .filter(|row| row.contains("NestJS") && row.contains("≥"))
    {
        assert!(row.ends_with("| not measured in this run | – |"), "{row}");
    }
    let plots: Vec<_> = page
        .split("<img src=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(plots.len() >= 8, "{plots:?}");
    for plot in plots {
        let svg = fs::read_to_string(docs.join(plot)).unwrap();
        assert!(svg.starts_with("<svg"), "{plot}");
    }

    // The report is made of the results alone.
    let again = folder.path().join("again");
    let mut command = Command::new(tools::own_binary("tidemark-bench").unwrap());
    command
        .arg("report")
        .arg("--dir")
        .arg(&dir)
        .arg("--docs")
        .arg(&again);
    tools::output(&mut command).unwrap();
    assert_eq!(
        fs::read_to_string(again.join("benchmarks.md")).unwrap(),
        page
    );
}
