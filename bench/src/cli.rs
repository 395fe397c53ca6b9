//! The command line.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::bail;
use clap::{Args, Parser, Subcommand};
use tidemark_tests::{erp::Size, tools};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    report,
    results::{About, Results},
    say,
    scale::Scale,
    site::Site,
    workload::{
        Bench, Workload,
        writers::{capture_table, measure_capture},
    },
};

/// Measures Tidemark beside what users would pick instead.
#[derive(Debug, Parser)]
#[command(name = "tidemark-bench", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Where servers keep their data between runs, and results are kept. [default: target/bench; target/bench-trial
    /// for a trial]
    #[arg(long, global = true, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Where the report goes: FOLDER/benchmarks.md, and plots in FOLDER/benchmarks. [default: docs]
    #[arg(long, global = true, value_name = "FOLDER")]
    docs: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures, and writes the report.
    Run(RunArgs),
    /// Writes the report of the latest results again.
    Report,
    /// Measures what capture costs writers, and prints it: a part of `run` by itself.
    Capture(CaptureArgs),
}

#[derive(Debug, Args)]
struct CaptureArgs {
    /// How many rounds there are.
    #[arg(default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How long each turn in a round is, in s.
    #[arg(default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How many write at a time.
    #[arg(default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
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
        let trial = matches!(&self.command, Command::Run(run) if run.trial);
        let usual = if trial {
            "target/bench-trial"
        } else {
            "target/bench"
        };
        let dir = self.dir.unwrap_or_else(|| root.join(usual));
        // What a trial says is for nobody to read.
        let usual = if trial {
            dir.clone()
        } else {
            root.join("docs")
        };
        let docs = self.docs.unwrap_or(usual);
        let results = Results::at(&dir.join("results"))?;
        match self.command {
            Command::Report => {}
            Command::Run(run) => until_interrupted(run.run(&dir, &results)).await?,
            Command::Capture(capture) => return until_interrupted(capture.run(&dir)).await,
        }
        report::write(&results, &docs)?;
        say(format_args!(
            "the report is in {}",
            docs.join("benchmarks.md").display()
        ));
        Ok(())
    }
}

/// Work that Ctrl-C ends. What is dropped half-way ends its servers.
async fn until_interrupted(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        // At a terminal, Ctrl-C ends wrk and others as well, which is then not what went wrong.
        biased;
        _ = interrupt.recv() => bail!("interrupted; all servers are ended"),
        _ = terminate.recv() => bail!("terminated; all servers are ended"),
        worked = work => worked,
    }
}

impl CaptureArgs {
    async fn run(self, dir: &Path) -> anyhow::Result<()> {
        let size = Size::Demo;
        let site = Site::start(&site_folder(dir, size), size).await?;
        let time = Duration::from_secs(self.seconds);
        let measured = measure_capture(&site, self.rounds.into(), time, self.clients).await?;
        println!("{}", capture_table(&measured).markdown());
        Ok(())
    }
}

/// Each size has a place of its own, so that neither has to be loaded anew for the other.
fn site_folder(dir: &Path, size: Size) -> PathBuf {
    dir.join(format!("site-{}", size.name()))
}

impl RunArgs {
    async fn run(self, dir: &Path, results: &Results) -> anyhow::Result<()> {
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
        let bench = Bench::start(&site_folder(dir, scale.size()), scale, !self.no_peers).await?;
        for workload in workloads {
            say(workload.title());
            let begun = Instant::now();
            workload.run(&bench, results, &about).await?;
            let took = begun.elapsed().as_secs();
            say(format_args!("{}: measured in {took} s", workload.title()));
        }
        Ok(())
    }
}
