//! What wrk tells of a load.

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

/// What marks the line that the script prints at the end.
const MARK: &str = "tidemark-bench ";

/// What became of a load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Requests that were answered.
    pub requests: u64,
    /// How long it was, in µs.
    pub duration_us: u64,
    /// The middle of the latencies, in µs.
    pub p50_us: f64,
    /// What 99 of 100 latencies stay below, in µs.
    pub p99_us: f64,
    /// Their mean, in µs.
    pub mean_us: f64,
    /// Requests that failed: no connection, no answer, or one with a status of 400 or more.
    pub failed: u64,
}

impl Load {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 * 1e6 / (self.duration_us.max(1)) as f64
    }
}

/// Reads what wrk has printed.
///
/// # Errors
/// The script's line is not there, or requests failed: whatever was measured is not what was meant to be.
pub fn parse(output: &str) -> anyhow::Result<Load> {
    let line = output.lines().find_map(|line| line.strip_prefix(MARK));
    let line = line.with_context(|| format!("wrk tells no result:\n{output}"))?;
    let load: Load = serde_json::from_str(line).with_context(|| format!("wrk tells {line}"))?;
    ensure!(
        load.failed == 0,
        "{} of {} requests failed",
        load.failed,
        load.requests
    );
    Ok(load)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "Running 1s test @ http://127.0.0.1:1\n  1 threads and 1 connections\n\
        tidemark-bench {\"requests\":1000,\"duration_us\":500000,\"p50_us\":210.0,\"p99_us\":900.0,\"mean_us\":250.5,\"failed\":0}\n";

    #[test]
    fn the_scripts_line_is_read() {
        let load = parse(PRINTED).unwrap();
        assert_eq!((load.requests, load.p99_us), (1000, 900.0));
        assert_eq!(load.rate(), 2000.0);
    }

    #[test]
    fn a_load_with_failures_is_none() {
        for (from, to) in [("\"failed\":0", "\"failed\":3"), ("tidemark-bench", "")] {
            assert!(parse(&PRINTED.replace(from, to)).is_err(), "{to}");
        }
    }
}
