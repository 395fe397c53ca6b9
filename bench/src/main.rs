//! `tidemark-bench`: see [`tidemark_bench`].

use std::process::ExitCode;

use clap::Parser as _;
use tidemark_bench::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
