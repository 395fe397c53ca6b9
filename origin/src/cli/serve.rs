//! `serve` and `relay`: the commands that run until they are told to stop.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::http::Uri;
use clap::Args;
use tokio::sync::Notify;

use super::arguments::{
    AnswerBytesArgs, CatalogArgs, DatabaseArgs, MetricsArgs, PollArgs, RedisArgs,
};
use crate::{
    app::{Origin, OriginConfig},
    audit::Rate,
    check,
    database::PoolLimits,
    descriptors,
    memory::Memory,
    queries::QueryLimits,
    relay::{Relay, RelayConfig},
    repository::Repository,
    shutdown::{self, Shutdown},
    tide::TideGauge,
};

/// How many queries may wait for each that may run.
const QUEUE_PER_CONNECTION: u32 = 10;

/// File descriptors for everything but clients and pools: the relay, each Redis, the catalog.
const OWN_FILES: u64 = 64;

/// The fewest characters of a token.
const TOKEN: usize = 16;

#[derive(Debug, Args)]
struct RelayArgs {
    #[command(flatten)]
    catalog: CatalogArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    poll: PollArgs,
}

#[derive(Debug, Args)]
pub(super) struct RelayAloneArgs {
    #[command(flatten)]
    relay: RelayArgs,
    #[command(flatten)]
    metrics: MetricsArgs,
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    relay: RelayArgs,
    /// Where to listen; port 0 takes a free one.
    #[arg(
        long,
        env = "TIDEMARK_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:3001"
    )]
    listen: SocketAddr,
    /// The most queries that run at a time.
    #[arg(long, env = "TIDEMARK_QUERY_CONNECTIONS", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    query_connections: u32,
    /// The most queries that wait for that, and the most that wait for others of the same query where
    /// it has a limit; more are answered 503 at once. [default: 10 for each connection]
    #[arg(long, env = "TIDEMARK_QUERY_QUEUE", value_name = "N", value_parser = clap::value_parser!(u32).range(..=100_000))]
    query_queue: Option<u32>,
    #[command(flatten)]
    answer_bytes: AnswerBytesArgs,
    /// The most commands that run at a time.
    #[arg(long, env = "TIDEMARK_COMMAND_CONNECTIONS", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    command_connections: u32,
    /// How long a request waits until it may run before it is answered 503, in ms.
    #[arg(long, env = "TIDEMARK_ACQUIRE_TIMEOUT_MS", value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    acquire_timeout_ms: u64,
    /// How long one statement may take before it is answered 504, in ms.
    #[arg(long, env = "TIDEMARK_STATEMENT_TIMEOUT_MS", value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    statement_timeout_ms: u64,
    /// How long a command waits for its invalidation before it answers "pending", in ms.
    #[arg(
        long,
        env = "TIDEMARK_INVALIDATION_WAIT_MS",
        value_name = "MS",
        default_value_t = 2_000
    )]
    invalidation_wait_ms: u64,
    /// How long a client may take to send a request's head, or its body, to idle between two requests,
    /// and to take nothing of an answer, in ms.
    #[arg(long, env = "TIDEMARK_REQUEST_TIMEOUT_MS", value_name = "MS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..))]
    request_timeout_ms: u64,
    /// How much of its own answers to remember while no Redis does, in bytes; 0 for nothing.
    #[arg(
        long,
        env = "TIDEMARK_MEMORY_BYTES",
        value_name = "BYTES",
        default_value_t = 64 << 20
    )]
    memory_bytes: u64,
    /// How many cached answers a second to hold against the database; 0 for none.
    #[arg(
        long,
        env = "TIDEMARK_AUDIT_RATE",
        value_name = "PER_SECOND",
        default_value = "0"
    )]
    audit_rate: Rate,
    /// What it takes to use /console/ and /admin/. Without one they are for this machine only, and off
    /// where --listen lets others connect.
    #[arg(long, env = "TIDEMARK_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = parse_token)]
    admin_token: Option<String>,
    /// The address of an edge that serves the shipped example: the console then shows it at work.
    #[arg(long, env = "TIDEMARK_CONSOLE_DEMO", value_name = "URL", value_parser = parse_web_origin)]
    console_demo: Option<String>,
}

/// What can be guessed is no token, and what is no visible ASCII is no header.
fn parse_token(text: &str) -> Result<String, String> {
    let is_sendable = text.bytes().all(|byte| byte.is_ascii_graphic());
    match text.len() >= TOKEN && is_sendable {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "write at least {TOKEN} visible characters, such as `openssl rand -hex 16` makes"
        )),
    }
}

/// It becomes part of a header.
fn parse_web_origin(text: &str) -> Result<String, String> {
    let uri: Option<Uri> = text.parse().ok();
    let is_web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    let uri = uri.filter(|uri| is_web(uri) && matches!(uri.path(), "" | "/"));
    let authority = uri
        .as_ref()
        .and_then(|uri| Some((uri.scheme_str()?, uri.authority()?)));
    let (scheme, authority) = authority.ok_or("write an address such as http://127.0.0.1:3000")?;
    Ok(format!("{scheme}://{authority}"))
}

pub(super) async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let RelayArgs {
        catalog,
        database,
        redis,
        poll,
    } = &args.relay;
    let acquire_timeout = Duration::from_millis(args.acquire_timeout_ms);
    let statement_timeout = Duration::from_millis(args.statement_timeout_ms);
    let stop = shutdown::signal().context("cannot listen for signals")?;
    let origin = Origin::build(OriginConfig {
        catalog: catalog.catalog.clone(),
        database: database.parse()?,
        redis: redis.targets()?,
        keyspace: redis.keyspace(),
        listen: args.listen,
        query_limits: QueryLimits {
            connections: args.query_connections,
            queue: args
                .query_queue
                .unwrap_or(QUEUE_PER_CONNECTION * args.query_connections),
            wait: acquire_timeout,
            statement_timeout,
            answer_bytes: args.answer_bytes.get(),
        },
        command_limits: PoolLimits {
            connections: args.command_connections,
            acquire_timeout,
            statement_timeout,
        },
        poll: poll.parse(),
        invalidation_wait: Duration::from_millis(args.invalidation_wait_ms),
        client_connections: client_connections(&args)?,
        request_timeout: Duration::from_millis(args.request_timeout_ms),
        memory_bytes: args.memory_bytes,
        audit_rate: args.audit_rate,
        admin_token: args.admin_token,
        console_demo: args.console_demo,
    })
    .await?;
    // For people and scripts alike: with port 0 this is how they learn the port.
    println!("listening on http://{}", origin.local_addr()?);
    origin.run(stop).await;
    Ok(())
}

/// How many connections of clients there may be, so that none to PostgreSQL or Redis ever finds all file
/// descriptors taken.
fn client_connections(args: &ServeArgs) -> anyhow::Result<usize> {
    let Some(limit) = descriptors::raise() else {
        return Ok(usize::MAX);
    };
    let own = OWN_FILES + u64::from(args.query_connections) + u64::from(args.command_connections);
    let left = limit.saturating_sub(own);
    anyhow::ensure!(
        left > 0,
        "only {limit} files may be open, and the service itself needs {own}; raise the limit (ulimit -n, LimitNOFILE=)"
    );
    Ok(usize::try_from(left).unwrap_or(usize::MAX))
}

pub(super) async fn relay(args: RelayAloneArgs) -> anyhow::Result<()> {
    let RelayAloneArgs {
        relay: args,
        metrics,
    } = args;
    let shutdown = Shutdown::when(shutdown::signal().context("cannot listen for signals")?);
    let repository = Repository::load(&args.catalog.catalog)?;
    let mut database = args.database.connect().await?;
    let examination = check::examine(&mut database, &repository).await?;
    examination.log_warnings();
    let installation = examination.sound()?;
    installation.verify(&mut database).await?;
    drop(database);
    let poll = args.poll.parse();
    let redis = args.redis.targets()?;
    let keyspace = args.redis.keyspace();
    let query_names = repository.catalog.queries.keys().cloned().collect();
    let regions = redis.targets(&keyspace);
    let metrics = metrics
        .serve(&regions, &keyspace, query_names, &shutdown)
        .await?;
    let relay = Relay::new(
        RelayConfig {
            database: args.database.parse()?,
            redis,
            keyspace,
            stamp_ttl: repository.catalog.stamp_ttl(),
            catalog: repository.digest,
            installation: Arc::new(installation),
            poll,
        },
        Arc::new(Notify::new()),
        TideGauge::new(),
        Arc::new(Memory::off(repository.digest)),
        // It runs no queries, so nothing is refreshed here.
        Arc::default(),
    );
    tokio::select! {
        () = relay.run() => {}
        () = shutdown.requested() => {}
    }
    metrics.finish().await;
    Ok(())
}
