//! `make soak` and `make chaos`: the consistency test, for as long as you like. Ctrl-C ends it early
//! and judges what there is.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::{Parser, Subcommand};
use tidemark_tests::consistency::{
    chaos::{self, Telling},
    report::say,
    run::{Load, Run, seed},
    world::{Wiring, World},
};
use tokio::time;

/// How often a soak says how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// Puts a load on the real servers and judges every answer.
#[derive(Parser)]
#[command(name = "tidemark-soak")]
struct Arguments {
    #[command(subcommand)]
    kind: Kind,
    /// What chance is made of [default: the clock]
    #[arg(long, env = "SEED", global = true)]
    seed: Option<u64>,
}

#[derive(Subcommand)]
enum Kind {
    /// In fair weather, until so many reads were answered.
    Soak {
        /// How many
        #[arg(long, default_value_t = 1_000_000)]
        reads: u64,
    },
    /// While servers and network fail, for so long.
    Chaos {
        /// How many seconds
        #[arg(long, default_value_t = 600)]
        seconds: u64,
    },
}

#[tokio::main(worker_threads = 4)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let load = Load::of(arguments.seed.unwrap_or_else(seed));
    let over = Arc::new(AtomicBool::new(false));
    tokio::spawn({
        let over = over.clone();
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                say("stopping; what was read so far is judged");
                over.store(true, Ordering::Relaxed);
            }
        }
    });
    let over = || over.load(Ordering::Relaxed);
    let kept = match arguments.kind {
        Kind::Soak { reads } => soak(load, reads, over).await,
        Kind::Chaos { seconds } => storm(load, Duration::from_secs(seconds), over).await,
    };
    match kept {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn soak(load: Load, reads: u64, over: impl Fn() -> bool) -> anyhow::Result<bool> {
    say(format_args!("soak: {reads} reads; seed {}", load.seed));
    let world = World::start(Wiring::Direct).await?;
    let run = Run::start(&world, load).await?;
    let mut last = 0;
    while run.reads() < reads && !over() {
        let interval = time::timeout(PROGRESS, async {
            while run.reads() < reads && !over() {
                time::sleep(Duration::from_millis(50)).await;
            }
        });
        // Whichever comes first: it is over, or there is something to say.
        let _ = interval.await;
        let (now, seconds) = (run.reads(), run.elapsed().as_secs_f64());
        let rate = (now - last) / PROGRESS.as_secs();
        say(format_args!(
            "  {seconds:6.1} s  {now} reads, {rate} a second; {} refused",
            run.refused()
        ));
        last = now;
    }
    let report = run.judge(&world).await?;
    say(format_args!("soak:\n{report}"));
    Ok(report.is_kept() && report.refused() == 0)
}

async fn storm(load: Load, duration: Duration, over: impl Fn() -> bool) -> anyhow::Result<bool> {
    say(format_args!("chaos: {duration:?}; seed {}", load.seed));
    let weathered = chaos::weather(load, duration, Telling::Each, over).await?;
    say(format_args!("chaos:\n{weathered}"));
    Ok(weathered.is_kept())
}
