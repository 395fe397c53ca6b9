//! `tidemark-origin`: see `tidemark-origin --help`.

use std::{io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use tidemark_origin::cli::{Cli, report};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx::postgres::notice=warn,sqlx::query=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidemark-origin: {}", report(&error));
            ExitCode::FAILURE
        }
    }
}
