//! One turn: a load on one contender, and what its server used for it.

use serde::{Deserialize, Serialize};

use super::Bench;
use crate::{
    contender::Contender,
    load::{Load, Requests},
    statistics::Spread,
};

/// What came of a turn.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Round {
    /// What the load generator saw.
    pub load: Load,
    /// CPU time (user and system) of the answering server for each request, in µs.
    pub cpu_us: f64,
}

/// A turn.
///
/// # Errors
/// A request fails, or the server has ended.
pub async fn turn(
    bench: &Bench,
    contender: &Contender,
    requests: &Requests,
    connections: u32,
) -> anyhow::Result<Round> {
    let before = contender.cpu()?;
    let load = bench
        .wrk
        .run(requests, connections, bench.scale.turn())
        .await?;
    let cpu = contender.cpu()?.saturating_sub(before);
    Ok(Round {
        load,
        cpu_us: cpu.as_secs_f64() * 1e6 / load.requests as f64,
    })
}

/// A figure of some turns, turn by turn.
fn figures(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> Vec<f64> {
    rounds.iter().map(figure).collect()
}

/// The same divided by that of others, turn by turn.
pub fn ratio(
    ours: &[Round],
    theirs: &[Round],
    figure: impl Fn(&Round) -> f64 + Copy,
) -> Option<Spread> {
    Spread::of_ratios(&figures(ours, figure), &figures(theirs, figure))
}

/// A figure of some turns, as its middle and spread.
pub fn spread(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> Option<Spread> {
    Spread::of(rounds.iter().map(figure))
}
