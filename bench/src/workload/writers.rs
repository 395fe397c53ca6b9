//! Workload 5: what capture costs those who write, and what the relay costs.

mod capture;
mod relay;
mod report;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    capture::{Capture, measure as measure_capture},
    relay::{Pace, Relay},
    report::{capture_table, report},
};
use super::Bench;

/// The result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Writers with and without capture.
    pub capture: Capture,
    /// The relay, at rest and at work.
    pub relay: Vec<Relay>,
}

/// Measures.
///
/// # Errors
/// Something does not start, or a transaction fails.
pub async fn run(bench: &Bench) -> anyhow::Result<Outcome> {
    let scale = bench.scale;
    let time = scale.pick(
        Duration::from_secs(1),
        Duration::from_secs(1),
        Duration::ZERO,
    );
    let rounds = scale.pick(11, 2, 1);
    Ok(Outcome {
        capture: capture::measure(&bench.site, rounds, time, 4).await?,
        relay: relay::measure(bench).await?,
    })
}
