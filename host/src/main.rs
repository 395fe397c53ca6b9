//! `tidemark-host`: the command line around [`tidemark_host::Host`].

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Parser;
use mimalloc::MiMalloc;
use tidemark_host::{Host, HostConfig, InstanceReuse};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A request is some hundred small allocations in several threads, on which the C library's allocator
/// spends a tenth of the time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Run a Spin application from its unmodified spin.toml, without Spin.
///
/// HTTP triggers, outbound Redis and HTTP, variables and files work as under `spin up`; whatever
/// else the manifest asks for is refused by name. Variables take their value from --variable,
/// else from SPIN_VARIABLE_<NAME>, else from their default. The flags about instances are Spin's.
/// RUST_LOG sets what is logged (the guests' own output has the target "guest").
#[derive(Parser)]
#[command(name = "tidemark-host", version)]
struct Arguments {
    /// The manifest, or the directory that has it
    #[arg(long, short = 'f', value_name = "FILE", default_value = "spin.toml")]
    from: PathBuf,

    /// Address to listen on; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "TIDEMARK_LISTEN",
        default_value = "127.0.0.1:3000"
    )]
    listen: SocketAddr,

    /// Value of an application variable; may be repeated
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,

    /// Threads that answer [default: one for each processor]
    #[arg(long, value_name = "COUNT", env = "TIDEMARK_THREADS")]
    threads: Option<NonZeroUsize>,

    /// Requests that an instance of a component takes in all; `spin up` takes 128
    #[arg(
        long,
        value_name = "COUNT",
        env = "TIDEMARK_MAX_INSTANCE_REUSE_COUNT",
        default_value_t = InstanceReuse::default().requests
    )]
    max_instance_reuse_count: NonZeroU32,

    /// Requests that an instance of a component takes at once
    #[arg(
        long,
        value_name = "COUNT",
        env = "TIDEMARK_MAX_INSTANCE_CONCURRENT_REUSE_COUNT",
        default_value_t = InstanceReuse::default().concurrent_requests
    )]
    max_instance_concurrent_reuse_count: NonZeroU32,

    /// How long an instance without a request lives, e.g. 500ms
    #[arg(
        long,
        value_name = "DURATION",
        env = "TIDEMARK_IDLE_INSTANCE_TIMEOUT",
        default_value_t = InstanceReuse::default().idle.into()
    )]
    idle_instance_timeout: humantime::Duration,

    /// Directory for compiled components [default: $XDG_CACHE_HOME/tidemark or ~/.cache/tidemark]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,

    /// Print and log only what goes wrong
    #[arg(long, short)]
    quiet: bool,
}

// It only accepts connections; those who answer have threads of their own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Each error's text names its cause already.
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let level = if arguments.quiet { "error" } else { "info" };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into()))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let quiet = arguments.quiet;
    let shutdown = shutdown().map_err(|error| anyhow!("can't listen for signals: {error}"))?;
    let host = Host::build(arguments.into()).await?;
    if !quiet {
        println!("Serving http://{}", host.local_addr());
        for (route, component) in host.routes() {
            println!("  {route} → {component}");
        }
    }
    Ok(host.run(shutdown).await?)
}

impl From<Arguments> for HostConfig {
    fn from(arguments: Arguments) -> Self {
        let manifest = match arguments.from.is_dir() {
            true => arguments.from.join("spin.toml"),
            false => arguments.from,
        };
        let mut config = Self::new(manifest);
        config.listen = arguments.listen;
        config.variables = arguments.variables.into_iter().collect();
        config.cache_dir = arguments.cache_dir.or(config.cache_dir);
        config.threads = arguments.threads.unwrap_or(config.threads);
        config.reuse = InstanceReuse {
            requests: arguments.max_instance_reuse_count,
            concurrent_requests: arguments.max_instance_concurrent_reuse_count,
            idle: arguments.idle_instance_timeout.into(),
        };
        config
    }
}

fn variable(argument: &str) -> Result<(String, String), String> {
    match argument.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Resolves on the first SIGINT or SIGTERM; the second ends the process at once.
fn shutdown() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut next = async move || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(async move {
        next().await;
        tracing::info!("stopping; once more to stop at once");
        tokio::spawn(async move {
            next().await;
            std::process::exit(130);
        });
    })
}
