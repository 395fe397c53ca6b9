//! The command line: what `tidemark-origin` can be told, by flags or environment.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use sqlx::{Connection as _, PgConnection};
use tidemark_shared::key::Keyspace;
use tokio::sync::Notify;

use crate::{
    app::{Origin, OriginConfig},
    capture::{self, Installation, Installed},
    check,
    database::{Database, PoolLimits},
    relay::{Relay, RelayConfig},
    repository::Repository,
    shutdown,
    tide::TideGauge,
};

/// Tidemark's origin: runs the catalog's SQL, captures changes in PostgreSQL, and relays
/// invalidations to Redis.
#[derive(Debug, Parser)]
#[command(name = "tidemark-origin", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve queries and commands over HTTP, and relay invalidations.
    Serve(ServeArgs),
    /// Relay invalidations, and nothing else.
    Relay(RelayArgs),
    /// Install the outbox and the triggers; safe to run again.
    Install {
        #[command(flatten)]
        catalog: CatalogArgs,
        #[command(flatten)]
        database: DatabaseArgs,
        /// Print the SQL instead of running it.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove the outbox and the triggers.
    Uninstall {
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Check the catalog, and that every statement and table in it fits the database.
    Check {
        #[command(flatten)]
        catalog: CatalogArgs,
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

#[derive(Debug, Args)]
struct CatalogArgs {
    /// The catalog: a tidemark.toml, or the folder that holds it.
    #[arg(
        long,
        env = "TIDEMARK_CATALOG",
        value_name = "PATH",
        default_value = "tidemark.toml"
    )]
    catalog: PathBuf,
}

#[derive(Debug, Args)]
struct DatabaseArgs {
    /// The database, as postgres://user:password@host:5432/name.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: String,
}

impl DatabaseArgs {
    fn parse(&self) -> anyhow::Result<Database> {
        Ok(Database::parse(&self.database_url)?)
    }

    async fn connect(&self) -> anyhow::Result<PgConnection> {
        PgConnection::connect_with(self.parse()?.options())
            .await
            .context("cannot connect to PostgreSQL; is --database-url right?")
    }
}

#[derive(Debug, Args)]
struct RedisArgs {
    /// The Redis of this region, as redis://user:password@host:6379/0.
    #[arg(
        long,
        env = "REDIS_URL",
        value_name = "URL",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379"
    )]
    redis: String,
    /// What every name in Redis begins with; the edge's key_prefix.
    #[arg(long, env = "TIDEMARK_KEY_PREFIX", value_name = "PREFIX", default_value = Keyspace::DEFAULT_PREFIX)]
    key_prefix: String,
    /// The longest pause between two looks at the outbox, in ms.
    #[arg(long, env = "TIDEMARK_POLL_MS", value_name = "MS", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    poll_ms: u64,
}

impl RedisArgs {
    fn client(&self) -> anyhow::Result<redis::Client> {
        // The error may repeat the URL, and with it a password.
        redis::Client::open(self.redis.as_str()).map_err(|_| {
            anyhow::anyhow!("the Redis URL can't be read; write redis://user:password@host:6379/0")
        })
    }

    fn keyspace(&self) -> Keyspace {
        Keyspace::new(&self.key_prefix)
    }

    fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }
}

#[derive(Debug, Args)]
struct RelayArgs {
    #[command(flatten)]
    catalog: CatalogArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
}

#[derive(Debug, Args)]
struct ServeArgs {
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
    /// The most commands that run at a time.
    #[arg(long, env = "TIDEMARK_COMMAND_CONNECTIONS", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    command_connections: u32,
    /// How long a request waits for a connection before it is answered 503, in ms.
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
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// It can't be done; the message says why and, where possible, what to do.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(args) => serve(args).await,
            Command::Relay(args) => relay(args).await,
            Command::Install {
                catalog,
                database,
                dry_run,
            } => install(&catalog, &database, dry_run).await,
            Command::Uninstall { database } => {
                capture::uninstall(&mut database.connect().await?).await?;
                println!("removed the schema tidemark and all its triggers");
                Ok(())
            }
            Command::Check { catalog, database } => check(&catalog, &database).await,
        }
    }
}

/// An error with its causes in one line, without those that its text repeats already.
pub fn report(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let RelayArgs {
        catalog,
        database,
        redis,
    } = &args.relay;
    let limits = |connections| PoolLimits {
        connections,
        acquire_timeout: Duration::from_millis(args.acquire_timeout_ms),
        statement_timeout: Duration::from_millis(args.statement_timeout_ms),
    };
    let stop = shutdown::signal().context("cannot listen for signals")?;
    let origin = Origin::build(OriginConfig {
        catalog: catalog.catalog.clone(),
        database: database.parse()?,
        redis: redis.client()?,
        keyspace: redis.keyspace(),
        listen: args.listen,
        query_limits: limits(args.query_connections),
        command_limits: limits(args.command_connections),
        poll: redis.poll(),
        invalidation_wait: Duration::from_millis(args.invalidation_wait_ms),
    })
    .await?;
    // For people and scripts alike: with port 0 this is how they learn the port.
    println!("listening on http://{}", origin.local_addr()?);
    origin.run(stop).await?;
    Ok(())
}

async fn relay(args: RelayArgs) -> anyhow::Result<()> {
    let stop = shutdown::signal().context("cannot listen for signals")?;
    let repository = Repository::load(&args.catalog.catalog)?;
    let mut database = args.database.connect().await?;
    Installation::plan(&mut database, &repository.catalog)
        .await?
        .verify(&mut database)
        .await?;
    drop(database);
    let relay = Relay::new(
        RelayConfig {
            database: args.database.parse()?,
            redis: args.redis.client()?,
            keyspace: args.redis.keyspace(),
            stamp_ttl: repository.catalog.stamp_ttl(),
            catalog: repository.digest,
            poll: args.redis.poll(),
        },
        Arc::new(Notify::new()),
        TideGauge::new(),
    );
    tokio::select! {
        () = relay.run() => {}
        () = stop => {}
    }
    Ok(())
}

async fn install(
    catalog: &CatalogArgs,
    database: &DatabaseArgs,
    dry_run: bool,
) -> anyhow::Result<()> {
    let repository = Repository::load(&catalog.catalog)?;
    let mut connection = database.connect().await?;
    let installation = Installation::plan(&mut connection, &repository.catalog).await?;
    if dry_run {
        print!("{}", installation.sql());
        return Ok(());
    }
    let tables = installation.tables.join(", ");
    match installation.install(&mut connection).await? {
        Installed::Renewed => println!("installed the outbox and triggers on {tables}"),
        Installed::Unchanged => println!("nothing to do: the triggers on {tables} are in place"),
    }
    Ok(())
}

async fn check(catalog: &CatalogArgs, database: &DatabaseArgs) -> anyhow::Result<()> {
    let repository = Repository::load(&catalog.catalog)?;
    let mut connection = database.connect().await?;
    let findings = check::findings(&mut connection, &repository).await?;
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    println!(
        "all is well: {} queries, {} commands",
        repository.catalog.queries.len(),
        repository.catalog.commands.len()
    );
    Ok(())
}
