//! The service as a whole: built on any port, run until it is told to stop.

use std::{future::Future, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use sqlx::{Connection as _, PgConnection, PgPool};
use tidemark_shared::{key::Keyspace, route};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle, time};

use crate::{
    audit::{self, Rate},
    capture::CaptureError,
    check::{self, Unsound},
    database::{Database, PoolLimits},
    fill,
    gate::TooHeavy,
    http::{self, Access, Clients, Operators, Readiness, Service},
    live::{self, Live},
    memory::Memory,
    metrics::{self, exposition::Exposition, region::Regions},
    queries::{Queries, QueryLimits},
    refresh::{self, Heat},
    relay::{self, Relay, RelayConfig, Targets},
    repository::{Repository, RepositoryError},
    shutdown::Shutdown,
    tide::{Tide, TideGauge},
};

/// How long running requests may take to finish after the shutdown was requested.
const GRACE: Duration = Duration::from_secs(10);

/// Of the queries that may run at a time, the part that may be refreshes; at least one.
const REFRESH_PART: u32 = 4;

/// Everything that `serve` can be told.
#[derive(Clone, Debug)]
pub struct OriginConfig {
    /// The catalog, or the folder that holds it.
    pub catalog: PathBuf,
    /// The database that is read, written and captured.
    pub database: Database,
    /// The Redis of this region, and those of others that its relay writes to.
    pub redis: Targets,
    /// The names in each Redis.
    pub keyspace: Keyspace,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Bounds of what queries may take.
    pub query_limits: QueryLimits,
    /// Bounds of the commands' pool.
    pub command_limits: PoolLimits,
    /// The longest pause between two cycles of the relay.
    pub poll: Duration,
    /// How long a command waits for its invalidation to be applied.
    pub invalidation_wait: Duration,
    /// The most connections of clients at a time.
    pub client_connections: usize,
    /// How long a client may take to send a head or a body, to idle between two requests, or to take
    /// nothing of an answer.
    pub request_timeout: Duration,
    /// How much of its own answers the service remembers, in bytes, about; 0 for nothing.
    pub memory_bytes: u64,
    /// How often a cached answer is held against the database.
    pub audit_rate: Rate,
    /// What it takes to use the console and the admin routes. Without one they are for this machine only,
    /// and for nobody where others can connect.
    pub admin_token: Option<String>,
    /// The address of an edge that serves the shipped example, for the console to show.
    pub console_demo: Option<String>,
}

/// Why the service can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// The catalog or its SQL is wrong.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The catalog does not fit the database.
    #[error(transparent)]
    Unsound(#[from] Unsound),
    /// A query is too heavy for the limits.
    #[error(transparent)]
    TooHeavy(#[from] TooHeavy),
    /// The triggers are not in place.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// PostgreSQL can't be reached.
    #[error("cannot connect to PostgreSQL: {0}")]
    Database(#[source] sqlx::Error),
    /// The Redis connection can't be set up.
    #[error("cannot set up the connection to Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// The address can't be listened on.
    #[error("cannot listen on {address}: {source}; another --listen may be free")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// The service, bound and ready to run.
pub struct Origin {
    listener: TcpListener,
    clients: Clients,
    service: Arc<Service>,
    probe: PgPool,
    relay: Relay,
    operators: Operators,
    audit_rate: Rate,
    heat: Arc<Heat>,
    /// The most refreshes at a time; none where the catalog wants none.
    refreshes: u32,
    home: redis::Client,
    redis: redis::aio::ConnectionManager,
    keyspace: Keyspace,
}

impl Origin {
    /// Reads the catalog, holds it against the database, verifies the triggers and binds.
    ///
    /// # Errors
    /// Something of that is not as it must be; the message says what to do.
    pub async fn build(config: OriginConfig) -> Result<Self, OriginError> {
        let repository = Repository::load(&config.catalog)?;
        let exposition = Exposition::start();
        let memory = Arc::new(Memory::new(
            config.memory_bytes,
            repository.digest,
            relay::silence(config.poll),
        ));
        let queries = Queries::new(
            &repository,
            &config.database,
            &config.query_limits,
            memory.clone(),
        )?;
        let query_names = repository.catalog.queries.keys().cloned().collect();
        for query in repository.catalog.queries.values() {
            metrics::expect_query(query);
        }
        for query in refresh::wanted(&repository.catalog) {
            metrics::expect_refreshes(&query.name);
        }
        let mut database = PgConnection::connect_with(config.database.options())
            .await
            .map_err(OriginError::Database)?;
        let examination = check::examine(&mut database, &repository).await?;
        examination.log_warnings();
        let installation = examination.sound()?;
        installation.verify(&mut database).await?;
        // The server may already be gone; what matters has been read.
        let _ = database.close().await;

        let targets = config.redis.targets(&config.keyspace);
        for target in &targets {
            metrics::expect_region(&target.to_string());
        }
        let wake = Arc::new(Notify::new());
        let gauge = TideGauge::new();
        let heat = Arc::<Heat>::default();
        let refreshes = match refresh::wanted(&repository.catalog).next() {
            Some(_) => (config.query_limits.connections / REFRESH_PART).max(1),
            None => 0,
        };
        let relay = Relay::new(
            RelayConfig {
                database: config.database.clone(),
                redis: config.redis.clone(),
                keyspace: config.keyspace.clone(),
                stamp_ttl: repository.catalog.stamp_ttl(),
                catalog: repository.digest,
                installation: Arc::new(installation),
                poll: config.poll,
            },
            wake.clone(),
            gauge.clone(),
            memory.clone(),
            heat.clone(),
        );
        let service = Service {
            routes: route::Router::for_origin(&repository.catalog),
            repository,
            queries,
            commands: config.database.command_pool(&config.command_limits),
            answer_bytes: config.query_limits.answer_bytes,
            memory,
            wake,
            tide: Tide::new(gauge, &config.redis.home, &config.keyspace)?,
            invalidation_wait: config.invalidation_wait,
            request_timeout: config.request_timeout,
            metrics: exposition,
            regions: Regions::new(&targets, &config.keyspace, query_names)?,
            live: Live::new(),
        };
        let listener =
            TcpListener::bind(config.listen)
                .await
                .map_err(|source| OriginError::Listen {
                    address: config.listen,
                    source,
                })?;
        Ok(Self {
            listener,
            clients: Clients {
                connections: config.client_connections,
                patience: config.request_timeout,
            },
            service: Arc::new(service),
            probe: config.database.probe_pool(),
            relay,
            operators: Operators {
                access: Access::new(config.listen, config.admin_token.as_deref()),
                demo: config.console_demo,
            },
            audit_rate: config.audit_rate,
            heat,
            refreshes,
            redis: config
                .redis
                .home
                .get_connection_manager_lazy(fill::redis_config())?,
            home: config.redis.home,
            keyspace: config.keyspace,
        })
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` completes, then finishes what runs, within 10 s.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) {
        let shutdown = Shutdown::when(stop);
        // Not told to stop: commands that are still being answered wait for it.
        let relay: JoinHandle<()> = tokio::spawn(self.relay.run());
        let metrics = tokio::spawn(self.service.metrics.clone().keep_up());
        let audit = self.audit_rate.pause().map(|pause| {
            tokio::spawn(audit::run(
                self.service.clone(),
                self.redis.clone(),
                self.keyspace.clone(),
                pause,
            ))
        });
        let live = tokio::spawn(live::run(
            self.service.clone(),
            self.home,
            self.redis.clone(),
            self.keyspace.clone(),
        ));
        let refresh = (self.refreshes > 0).then(|| {
            tokio::spawn(refresh::run(
                self.service.clone(),
                self.heat,
                self.redis,
                self.keyspace,
                self.refreshes,
            ))
        });

        let readiness = Readiness {
            database: self.probe.clone(),
            shutdown: shutdown.clone(),
        };
        let server = http::serve_http(
            self.listener,
            http::router(self.service.clone(), readiness, &self.operators),
            self.clients,
            shutdown.requested(),
        );
        tokio::select! {
            () = server => {}
            () = async {
                shutdown.requested().await;
                time::sleep(GRACE).await;
            } => {
                tracing::warn!(grace = ?GRACE, "requests that still run are cut off");
            }
        }
        for task in [audit, refresh, Some(live)].into_iter().flatten() {
            task.abort();
        }
        metrics.abort();
        // A cycle may be cut anywhere: that only repeats invalidations.
        relay.abort();
        // Statements that were cut off would keep their pool open for as long as they run.
        let pools = async {
            self.service.queries.close().await;
            self.service.commands.close().await;
            self.probe.close().await;
        };
        let _ = time::timeout(Duration::from_millis(500), pools).await;
    }
}
