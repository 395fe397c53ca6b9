//! Workload 6: how soon a host and an instance answer, what an instance and an entry take, and how large the
//! component is.

mod first;
mod held;
mod report;
mod stored;

use std::{fs, process::Command};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tidemark_tests::{http::Client, tools};

pub use self::{held::Memory, report::report, stored::Stored};
use super::Bench;
use crate::{contender, statistics::Spread};

/// The result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// From the start of `tidemark-host` until it accepts connections, its component compiled already, in ms.
    pub listening_ms: Spread,
    /// From there until the end of its first answer, a hit in Redis, in ms.
    pub host_first_ms: Spread,
    /// The first answer of a new instance in a host that runs, a hit in Redis, in ms.
    pub instance_first_ms: Spread,
    /// The next answers of that instance, in ms.
    pub instance_next_ms: Spread,
    /// Memory by live instances.
    pub memory: Memory,
    /// Redis' memory of an entry.
    pub stored: Stored,
    /// The component's length, in bytes.
    pub wasm: u64,
    /// The same, compressed by `gzip -9`.
    pub wasm_gzip: u64,
}

/// Measures.
///
/// # Errors
/// Something does not start, or does not answer as it should.
pub async fn run(bench: &Bench) -> anyhow::Result<Start> {
    let site = &bench.site;
    site.flush_redis().await?;
    let database = site.database("start").await?;
    let mut tidemark = contender::tidemark::start(site, &database).await?;
    let client = Client::default();
    let (listening_ms, host_first_ms) = first::of_hosts(bench, &client, &tidemark).await?;
    let (instance_first_ms, instance_next_ms) =
        first::of_instances(bench, &client, &tidemark).await?;
    let stored = stored::measure(bench, &client, &tidemark).await?;
    let memory = held::measure(bench, &client, &mut tidemark).await?;
    let wasm = tools::repository().join("target/wasm32-wasip2/release/tidemark_edge.wasm");
    Ok(Start {
        listening_ms,
        host_first_ms,
        instance_first_ms,
        instance_next_ms,
        memory,
        stored,
        wasm: fs::metadata(&wasm)?.len(),
        wasm_gzip: gzipped(&wasm)?,
    })
}

/// The length of a file as `gzip -9` compresses it, in bytes.
fn gzipped(path: &std::path::Path) -> anyhow::Result<u64> {
    let output = Command::new("gzip")
        .args(["-9", "-n", "-c"])
        .arg(path)
        .output();
    let output = output.context("gzip")?;
    anyhow::ensure!(output.status.success(), "gzip fails: {}", output.status);
    Ok(output.stdout.len() as u64)
}
