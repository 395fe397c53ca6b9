//! `make soak` and `make chaos`: the consistency test, for as long as you like. Ctrl-C ends it early
//! and judges what there is.

use std::{
    fmt,
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
    memory::{self, Memory},
    report::say,
    run::{Load, Run, seed},
    world::{Wiring, World},
};
use tokio::time;

/// How many looks at the memory pass until it is told.
const TOLD: usize = 12;

/// A run that is shorter still warms up: that memory grows in it says nothing.
const LONG: Duration = Duration::from_secs(600);

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
    /// In fair weather, until so many reads were answered, or for so long.
    Soak {
        /// How many
        #[arg(long, default_value_t = 1_000_000)]
        reads: u64,
        /// How many seconds, however many reads that makes
        #[arg(long, conflicts_with = "reads")]
        seconds: Option<u64>,
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
        Kind::Soak { reads, seconds } => {
            let until = seconds.map_or(Until::Reads(reads), |seconds| {
                Until::Time(Duration::from_secs(seconds))
            });
            soak(load, until, over).await
        }
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

/// When a soak has lasted long enough.
#[derive(Clone, Copy)]
enum Until {
    Reads(u64),
    Time(Duration),
}

impl Until {
    fn is_reached(self, run: &Run) -> bool {
        match self {
            Self::Reads(reads) => run.reads() >= reads,
            Self::Time(time) => run.elapsed() >= time,
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reads(reads) => write!(f, "{reads} reads"),
            Self::Time(time) => write!(f, "{time:?}"),
        }
    }
}

async fn soak(load: Load, until: Until, over: impl Fn() -> bool) -> anyhow::Result<bool> {
    say(format_args!("soak: {until}; seed {}", load.seed));
    let mut world = World::start(Wiring::Direct).await?;
    let run = Run::start(&world, load).await?;
    let mut memory = Memory::default();
    let mut last = 0;
    for look in 0.. {
        let interval = time::timeout(memory::LOOK, async {
            while !until.is_reached(&run) && !over() {
                time::sleep(Duration::from_millis(50)).await;
            }
        });
        // Whichever comes first: it is over, or there is something to see.
        if interval.await.is_ok() {
            break;
        }
        memory.look(&mut world).await?;
        let (now, seconds) = (run.reads(), run.elapsed().as_secs_f64());
        let rate = (now - last) / memory::LOOK.as_secs();
        say(format_args!(
            "  {seconds:6.1} s  {now} reads, {rate} a second; {} refused",
            run.refused()
        ));
        if look % TOLD == 0 {
            say(format_args!("            {}", memory.last()));
        }
        last = now;
    }
    let is_long = run.elapsed() >= LONG;
    let report = run.judge(&world).await?;
    say(format_args!("soak:\n{report}\n{memory}"));
    Ok(report.is_kept() && report.refused() == 0 && (memory.is_flat() || !is_long))
}

async fn storm(load: Load, duration: Duration, over: impl Fn() -> bool) -> anyhow::Result<bool> {
    say(format_args!("chaos: {duration:?}; seed {}", load.seed));
    let weathered = chaos::weather(load, duration, Telling::Each, over).await?;
    say(format_args!("chaos:\n{weathered}"));
    Ok(weathered.is_kept())
}
