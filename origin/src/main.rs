//! `tidemark-origin`: see `tidemark-origin --help`.

use std::process::ExitCode;

use clap::Parser as _;
use tidemark_origin::{
    cli::{Cli, report},
    telemetry,
};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let telemetry = match telemetry::start(cli.log_format) {
        Ok(telemetry) => telemetry,
        Err(error) => return failed(&error.into()),
    };
    let ended = cli.run().await;
    drop(telemetry);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("tidemark-origin: {}", report(error));
    ExitCode::FAILURE
}
