//! Runs pgbench, PostgreSQL's own load generator: writers.

use std::{io::Write as _, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use tempfile::NamedTempFile;
use tidemark_tests::{erp::Scale, postgres};
use tokio::process::Command;

use crate::site::Database;

/// A kind of transaction that writers repeat.
#[derive(Debug)]
pub struct Writes {
    script: NamedTempFile,
}

/// How writers write.
#[derive(Clone, Copy, Debug)]
pub struct Writers {
    /// How many there are.
    pub clients: u32,
    /// For how long; in whole seconds. For less: until each has made a few transactions.
    pub time: Duration,
    /// How many transactions a second all of them together try; without it, as many as they can.
    pub rate: Option<u32>,
}

impl Writes {
    /// A transaction in pgbench's language; it knows `:organizations`, `:orders` and `:products`, which are
    /// how many there are.
    ///
    /// # Errors
    /// No temporary file can be made.
    pub fn of(script: &str) -> anyhow::Result<Self> {
        let mut file = NamedTempFile::new()?;
        file.write_all(script.as_bytes())?;
        Ok(Self { script: file })
    }

    /// Writes to a database, and gives the transactions a second that were reached.
    ///
    /// # Errors
    /// pgbench is missing, or a transaction fails.
    pub async fn run(
        &self,
        database: &Database,
        scale: Scale,
        writers: Writers,
    ) -> anyhow::Result<f64> {
        let mut command = Command::new(postgres::program("pgbench")?);
        let environment = database.environment();
        command
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=1"])
            .arg(format!("--client={}", writers.clients))
            .arg(match writers.time.as_secs() {
                0 => "--transactions=20".to_owned(),
                seconds => format!("--time={seconds}"),
            })
            .arg(format!("--define=organizations={}", scale.organizations))
            .arg(format!("--define=orders={}", scale.orders))
            .arg(format!("--define=products={}", scale.products))
            .arg("--file")
            .arg(self.script.path());
        if let Some(rate) = writers.rate {
            command.arg(format!("--rate={rate}"));
        }
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = output.await.context("pgbench")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "pgbench fails ({}): {complaint}",
            output.status
        );
        rate(&text).with_context(|| format!("pgbench tells no rate:\n{text}{complaint}"))
    }
}

/// The transactions a second that pgbench has printed.
fn rate(output: &str) -> Option<f64> {
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))?;
    line.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read() {
        let printed = "number of failed transactions: 0 (0.000%)\nlatency average = 0.5 ms\n\
            tps = 1834.123456 (without initial connection time)\n";
        assert_eq!(rate(printed), Some(1834.123456));
        assert_eq!(rate("pgbench: error"), None);
    }
}
