//! The command line.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};
use tidemark_tests::tools;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    report,
    results::{About, Results},
    say,
    scale::Scale,
    workload::{Bench, Workload},
};

/// Measures Tidemark beside what users would pick instead.
#[derive(Debug, Parser)]
#[command(name = "tidemark-bench", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Where servers keep their data between runs, and results are kept.
    #[arg(long, global = true, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Where the report goes: FOLDER/benchmarks.md, and plots in FOLDER/benchmarks.
    #[arg(long, global = true, value_name = "FOLDER")]
    docs: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures, and writes the report.
    Run(RunArgs),
    /// Writes the report of the latest results again.
    Report,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Everything in under five minutes.
    #[arg(long)]
    quick: bool,
    /// As little as shows that it works, on little data.
    #[arg(long, conflicts_with = "quick")]
    trial: bool,
    /// Only these workloads; the report has the latest results of the others.
    #[arg(long, value_enum, num_args = 1..)]
    only: Vec<Workload>,
    /// Without NestJS and nginx, on a machine that has neither; the report says that they are missing.
    #[arg(long)]
    no_peers: bool,
}

impl Cli {
    /// Does what it says.
    ///
    /// # Errors
    /// A server does not start, a program is missing, or what is measured does not answer as it should.
    pub async fn run(self) -> anyhow::Result<()> {
        let root = tools::repository();
        let dir = self.dir.unwrap_or_else(|| root.join("target/bench"));
        let docs = self.docs.unwrap_or_else(|| root.join("docs"));
        let results = Results::at(&dir.join("results"))?;
        match self.command {
            Command::Report => {}
            Command::Run(run) => {
                let mut interrupt = signal(SignalKind::interrupt())?;
                let mut terminate = signal(SignalKind::terminate())?;
                // What is dropped half-way ends its servers.
                tokio::select! {
                    ran = run.run(&dir, &results) => ran?,
                    _ = interrupt.recv() => bail!("interrupted; all servers have ended"),
                    _ = terminate.recv() => bail!("terminated; all servers have ended"),
                }
            }
        }
        report::write(&results, &docs)?;
        say(format_args!(
            "the report is in {}",
            docs.join("benchmarks.md").display()
        ));
        Ok(())
    }
}

impl RunArgs {
    async fn run(self, dir: &std::path::Path, results: &Results) -> anyhow::Result<()> {
        let scale = match (self.quick, self.trial) {
            (true, _) => Scale::Quick,
            (_, true) => Scale::Trial,
            _ => Scale::Full,
        };
        if cfg!(debug_assertions) && scale != Scale::Trial {
            say("this is a debug build: its figures mean nothing");
        }
        let workloads = match self.only.is_empty() {
            true => Workload::ALL.to_vec(),
            false => self.only,
        };
        let about = About::of_this_machine(scale)?;
        let folder = dir.join(format!("site-{}", scale.size().name()));
        let bench = Bench::start(&folder, scale, !self.no_peers).await?;
        for workload in workloads {
            say(format_args!("{}", workload.title()));
            workload.run(&bench, results, &about).await?;
        }
        Ok(())
    }
}
