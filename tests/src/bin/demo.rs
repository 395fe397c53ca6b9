//! `tidemark-demo`: what `make demo` runs.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use tidemark_tests::{
    demo::{Demo, DemoConfig, say},
    edge::Runner,
    erp::Size,
};
use tokio::signal::unix::{SignalKind, signal};

/// Starts the ERP example: a private PostgreSQL and Redis, the origin and the edge.
///
/// Ctrl-C stops everything and keeps the data, so that the next start is quick.
#[derive(Debug, Parser)]
#[command(name = "tidemark-demo", version)]
struct Arguments {
    /// Where data and logs stay.
    #[arg(
        long,
        env = "DEMO_DIR",
        value_name = "FOLDER",
        default_value = ".tidemark"
    )]
    dir: PathBuf,
    /// How much data: 20 000 orders (demo), or 400 000 (full).
    #[arg(long, env = "SIZE", value_enum, default_value = "demo")]
    size: Size,
    /// What runs the edge.
    #[arg(long, env = "RUNNER", value_enum, default_value = "host")]
    runner: Runner,
    /// The edge's port on 127.0.0.1; 0 takes a free one.
    #[arg(long, env = "EDGE_PORT", value_name = "PORT", default_value_t = 3000)]
    edge_port: u16,
    /// The origin's port on 127.0.0.1; 0 takes a free one.
    #[arg(long, env = "ORIGIN_PORT", value_name = "PORT", default_value_t = 3001)]
    origin_port: u16,
}

impl From<Arguments> for DemoConfig {
    fn from(arguments: Arguments) -> Self {
        Self {
            folder: arguments.dir,
            size: arguments.size,
            runner: arguments.runner,
            edge_port: arguments.edge_port,
            origin_port: arguments.origin_port,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().into()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: DemoConfig) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    };
    tokio::pin!(stop);

    let started = tokio::select! {
        started = Demo::start(&config) => Some(started?),
        () = &mut stop => None,
    };
    let Some(mut demo) = started else {
        say("stopped before everything was up");
        return Ok(());
    };
    // Nobody may be listening any more, which is no error.
    let _ = writeln!(io::stdout(), "{}", demo.welcome());
    let failure = tokio::select! {
        failure = demo.failure() => Some(failure),
        () = &mut stop => None,
    };
    say("stopping");
    demo.stop();
    say(format_args!(
        "stopped; the data stays in {}",
        config.folder.display()
    ));
    failure.map_or(Ok(()), Err)
}
