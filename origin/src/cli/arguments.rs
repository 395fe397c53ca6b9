//! Arguments that several commands take.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use redis::IntoConnectionInfo as _;
use sqlx::{Connection as _, PgConnection};
use tidemark_shared::key::Keyspace;
use tokio::task::JoinHandle;

use crate::{
    database::Database,
    http::MetricsServer,
    memory::Memory,
    metrics::{self, region::Regions},
    queries::{Queries, QueryLimits},
    relay::{Targets, region::Target},
    repository::Repository,
    shutdown::Shutdown,
};

#[derive(Debug, Args)]
pub(super) struct CatalogArgs {
    /// The catalog: a tidemark.toml, or the folder that holds it.
    #[arg(
        long,
        env = "TIDEMARK_CATALOG",
        value_name = "PATH",
        default_value = "tidemark.toml"
    )]
    pub(super) catalog: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct DatabaseArgs {
    /// The database, as postgres://user:password@host:5432/name.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(super) database_url: String,
}

impl DatabaseArgs {
    pub(super) fn parse(&self) -> anyhow::Result<Database> {
        Ok(Database::parse(&self.database_url)?)
    }

    pub(super) async fn connect(&self) -> anyhow::Result<PgConnection> {
        PgConnection::connect_with(self.parse()?.options())
            .await
            .context("cannot connect to PostgreSQL; is --database-url right?")
    }
}

#[derive(Debug, Args)]
pub(super) struct RedisArgs {
    /// The Redis of this region, as redis://user:password@host:6379/0; repeat it, or write commas, for
    /// those of other regions that the relay writes to.
    #[arg(
        long,
        env = "REDIS_URL",
        value_name = "URL",
        hide_env_values = true,
        value_delimiter = ',',
        default_value = "redis://127.0.0.1:6379"
    )]
    redis: Vec<String>,
    #[command(flatten)]
    keyspace: KeyspaceArgs,
}

impl RedisArgs {
    pub(super) fn targets(&self) -> anyhow::Result<Targets> {
        let mut clients = Vec::with_capacity(self.redis.len());
        let mut places = BTreeSet::new();
        for url in &self.redis {
            let client = client(url)?;
            let place = place(&client);
            if !places.insert(place.clone()) {
                bail!("--redis names {place} twice; name each Redis once");
            }
            clients.push(client);
        }
        let mut clients = clients.into_iter();
        let home = clients.next().context("--redis names no Redis")?;
        Ok(Targets {
            home,
            others: clients.collect(),
        })
    }

    pub(super) fn keyspace(&self) -> Keyspace {
        self.keyspace.parse()
    }
}

#[derive(Debug, Args)]
pub(super) struct KeyspaceArgs {
    /// What every name in Redis begins with; the edge's key_prefix.
    #[arg(long, env = "TIDEMARK_KEY_PREFIX", value_name = "PREFIX", default_value = Keyspace::DEFAULT_PREFIX)]
    key_prefix: String,
}

impl KeyspaceArgs {
    pub(super) fn parse(&self) -> Keyspace {
        Keyspace::new(&self.key_prefix)
    }
}

#[derive(Debug, Args)]
pub(super) struct AnswerBytesArgs {
    /// The longest answer of a query or command, in bytes; a longer one is refused, and not even sent
    /// by PostgreSQL. An edge takes 32 MiB.
    #[arg(long, env = "TIDEMARK_MAX_ANSWER_BYTES", value_name = "BYTES", default_value_t = 32 * 1024 * 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    max_answer_bytes: u32,
}

impl AnswerBytesArgs {
    pub(super) fn get(&self) -> u32 {
        self.max_answer_bytes
    }
}

/// For commands that run queries by themselves, beside the origins.
#[derive(Debug, Args)]
pub(super) struct StatementArgs {
    /// How long one statement may take, in ms.
    #[arg(long, env = "TIDEMARK_STATEMENT_TIMEOUT_MS", value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    statement_timeout_ms: u64,
    #[command(flatten)]
    max_answer_bytes: AnswerBytesArgs,
}

impl StatementArgs {
    /// The catalog's queries, on connections of this command's own, so many at a time whatever they weigh.
    pub(super) async fn queries(
        &self,
        database: &DatabaseArgs,
        repository: &Repository,
        concurrency: u32,
    ) -> anyhow::Result<Queries> {
        // A pool connects when it is first needed; that nobody is there is to be said before.
        database.connect().await?.close().await?;
        let statement_timeout = Duration::from_millis(self.statement_timeout_ms);
        let capacities = repository.catalog.queries.values().map(|it| it.capacity);
        let heaviest = capacities.map(|it| it.weight).max().unwrap_or(1);
        let limits = QueryLimits {
            connections: concurrency.max(heaviest),
            queue: concurrency,
            // For all those before it.
            wait: statement_timeout.saturating_mul(concurrency),
            statement_timeout,
            answer_bytes: self.max_answer_bytes.get(),
        };
        let off = Arc::new(Memory::off(repository.digest));
        Ok(Queries::new(repository, &database.parse()?, &limits, off)?)
    }
}

#[derive(Debug, Args)]
pub(super) struct PollArgs {
    /// The longest pause between two looks at the outbox, in ms.
    #[arg(long, env = "TIDEMARK_POLL_MS", value_name = "MS", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    poll_ms: u64,
}

impl PollArgs {
    pub(super) fn parse(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }
}

/// For commands that serve nothing else.
#[derive(Debug, Args)]
pub(super) struct MetricsArgs {
    /// Where to answer /metrics and /healthz, as 127.0.0.1:3002; port 0 takes a free one. [default: nowhere]
    #[arg(long, env = "TIDEMARK_METRICS_LISTEN", value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
}

impl MetricsArgs {
    /// Begins to serve metrics, if that is wanted, until the shutdown is requested. What the regions tell
    /// is among them, of their edges' answers to these queries.
    pub(super) async fn serve(
        &self,
        regions: &[Arc<Target>],
        keyspace: &Keyspace,
        queries: Vec<String>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<MetricsTask> {
        let Some(address) = self.metrics_listen else {
            return Ok(MetricsTask(None));
        };
        let told = Regions::new(regions, keyspace, queries)
            .context("cannot set up the connection to Redis")?;
        let server = MetricsServer::bind(address, told).await.with_context(|| {
            format!("cannot listen on {address}; another --metrics-listen may be free")
        })?;
        for region in regions {
            metrics::expect_region(&region.to_string());
        }
        // For people and scripts alike: with port 0 this is how they learn the port.
        println!("metrics on http://{}", server.local_addr()?);
        Ok(MetricsTask(Some(tokio::spawn(
            server.run(shutdown.clone()),
        ))))
    }
}

/// A server of metrics under way, or none.
pub(super) struct MetricsTask(Option<JoinHandle<()>>);

impl MetricsTask {
    /// Waits until it has finished, once the shutdown has been requested.
    pub(super) async fn finish(self) {
        if let Some(server) = self.0 {
            // An error means that it has panicked, and its log says so.
            let _ = server.await;
        }
    }
}

/// The client for a Redis URL.
pub(super) fn client(url: &str) -> anyhow::Result<redis::Client> {
    anyhow::ensure!(
        !url.starts_with("rediss://"),
        "TLS to Redis is not built in; let a tunnel on this machine (stunnel, a mesh's proxy) do it, and name its redis:// address"
    );
    let read = || {
        let info = url.into_connection_info()?;
        // Without CLIENT SETINFO: it is of no use, and would take a right (from Redis 7.2, Valkey).
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        redis::Client::open(info.set_redis_settings(settings))
    };
    // The error may repeat the URL, and with it a password.
    read().map_err(|_: redis::RedisError| {
        anyhow::anyhow!("the Redis URL can't be read; write redis://user:password@host:6379/0")
    })
}

/// Where a Redis is, without credentials.
pub(super) fn place(client: &redis::Client) -> String {
    let info = client.get_connection_info();
    format!("{}/{}", info.addr(), info.redis_settings().db())
}
