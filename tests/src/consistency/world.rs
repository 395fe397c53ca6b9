//! The servers of a consistency test: one PostgreSQL, its origins, and two regions of Redis and edge.
//!
//! The relay writes to the Redis of the home region. The far region has only a cache manager, which
//! hears the events of that Redis.
//!
//! Direct wiring is for speed. Relayed wiring has two origins, one of which waits to lead, and a
//! [`TcpRelay`] on every path, so that the network can fail as well. (Both origins reach Redis by the
//! same path: they are to know it as one region, whoever leads.)

use std::{env, net::SocketAddr, path::Path};

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

use super::workload;
use crate::{
    edge::{EdgeConfig, Runner},
    manager::ManagerConfig,
    origin::OriginConfig,
    port::{self, local},
    postgres::{self, Durability, Postgres},
    process::Process,
    redis::{Redis, RedisConfig},
    server::Server,
    stack::{edge_cache, start_edge, write_manifest},
    tcp_relay::TcpRelay,
    tools,
};

const DATABASE: &str = "consistency";

/// How the servers reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// Directly; one origin.
    Direct,
    /// Through relays; two origins.
    Relayed,
}

/// Everything that runs. Its fields are in the order in which they are ended.
#[derive(Debug)]
pub struct World {
    /// The regions; the first one is the origins' own, each other one has a manager.
    pub regions: Vec<Region>,
    /// The origins; edges ask the one that [`Network::edge_to_origin`] leads to.
    pub origins: Vec<Origin>,
    /// The database's server.
    pub postgres: Postgres,
    /// The network, where it can fail.
    pub network: Option<Network>,
    _folder: TempDir,
}

/// A region: a Redis, an edge, and what brings the relay's news there.
#[derive(Debug)]
pub struct Region {
    /// The edge.
    pub edge: Edge,
    /// What applies the home region's events here; the relay itself writes to the home region.
    pub manager: Option<Manager>,
    /// Its Redis.
    pub redis: Redis,
    /// From the edge to its Redis, where that can fail.
    pub edge_to_redis: Option<TcpRelay>,
}

/// An edge, which can be started again as it was.
#[derive(Debug)]
pub struct Edge {
    /// How it was started.
    pub config: EdgeConfig,
    /// The running one.
    pub server: Server,
}

/// A cache manager, which can be started again as it was.
#[derive(Debug)]
pub struct Manager {
    /// How it was started.
    pub config: ManagerConfig,
    /// The running one.
    pub process: Process,
    /// From it to the Redis whose events it hears, where that can fail.
    pub to_source: Option<TcpRelay>,
    /// From it to the Redis of its region, where that can fail.
    pub to_redis: Option<TcpRelay>,
}

/// An origin, which can be started again as it was.
#[derive(Debug)]
pub struct Origin {
    /// How it was started.
    pub config: OriginConfig,
    /// The running one.
    pub server: Server,
}

/// Every path that can fail.
#[derive(Debug)]
pub struct Network {
    /// From the edges, and from whoever sends commands, to one of the origins.
    pub edge_to_origin: TcpRelay,
    /// From the origins to the Redis of their region.
    pub origins_to_redis: TcpRelay,
    /// From each origin to PostgreSQL.
    pub origins_to_postgres: Vec<TcpRelay>,
}

impl World {
    /// Starts everything.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn start(wiring: Wiring) -> anyhow::Result<Self> {
        let folder = postgres::new_folder(&env::temp_dir(), "tidemark-consistency-")?;
        let path = folder.path();
        let durability = Durability::SurvivesCrash;
        let postgres = Postgres::start(&path.join("postgres"), durability, None).await?;
        postgres.create_database(DATABASE, None).await?;
        let mut database = postgres.connect(DATABASE).await?;
        sqlx::raw_sql(workload::CATALOG.schema)
            .execute(&mut database)
            .await?;
        workload::CATALOG.write(&path.join("catalog"))?;

        let redis = start_redis(&path.join("redis")).await?;
        let far_redis = start_redis(&path.join("far-redis")).await?;
        let listen: Vec<SocketAddr> = match wiring {
            Wiring::Direct => vec![local(port::free())],
            Wiring::Relayed => vec![local(port::free()), local(port::free())],
        };
        let network = match wiring {
            Wiring::Direct => None,
            Wiring::Relayed => Some(Network::between(&redis, &postgres, &listen).await?),
        };
        let origins = start_origins(path, &postgres, &redis, network.as_ref(), &listen).await?;
        let manager = Manager::start(wiring, path, &redis, &far_redis).await?;
        let manifest = write_manifest(path)?;
        let start_region = async |name, redis, manager| {
            let relayed = network.as_ref();
            let edge_to_redis = relay_to(wiring, &redis).await?;
            let config = EdgeConfig {
                runner: Runner::Host,
                manifest: manifest.clone(),
                listen: local(port::free()),
                variables: vec![
                    ("redis_url", url_of(&redis, edge_to_redis.as_ref())),
                    ("origin_url", origin_url(relayed, &origins)),
                ],
                environment: Vec::new(),
                cache: edge_cache()?,
                log: path.join(format!("{name}-edge.log")),
                lease: None,
            };
            let server = start_edge(&config).await?;
            anyhow::Ok(Region {
                edge: Edge { config, server },
                manager,
                redis,
                edge_to_redis,
            })
        };
        let home = start_region("home", redis, None).await?;
        let far = start_region("far", far_redis, Some(manager)).await?;
        Ok(Self {
            regions: vec![home, far],
            origins,
            postgres,
            network,
            _folder: folder,
        })
    }

    /// How to connect to the database.
    pub fn database(&self) -> PgConnectOptions {
        self.postgres.options(DATABASE)
    }

    /// The regions' edges.
    pub fn edges(&self) -> impl Iterator<Item = &str> {
        self.regions.iter().map(|region| region.edge.server.url())
    }

    /// Where commands go: the path that the edge takes to the origin.
    pub fn commands(&self) -> String {
        origin_url(self.network.as_ref(), &self.origins)
    }
}

/// Where edges, and whoever sends commands, find an origin.
fn origin_url(network: Option<&Network>, origins: &[Origin]) -> String {
    match network {
        Some(network) => format!("http://{}", network.edge_to_origin.address()),
        None => origins[0].server.url().to_owned(),
    }
}

async fn start_redis(folder: &Path) -> anyhow::Result<Redis> {
    let mut config = RedisConfig::new(folder);
    config.settings = vec![("enable-debug-command", "local".to_owned())];
    Redis::start(config).await
}

/// A path to a Redis that can fail, if this wiring has such.
async fn relay_to(wiring: Wiring, redis: &Redis) -> anyhow::Result<Option<TcpRelay>> {
    Ok(match wiring {
        Wiring::Direct => None,
        Wiring::Relayed => Some(TcpRelay::to(local(redis.config().port)).await?),
    })
}

/// The URL of a Redis, by a path to it if there is one.
fn url_of(redis: &Redis, path: Option<&TcpRelay>) -> String {
    let url = redis.url();
    match path {
        Some(relay) => through(&url, redis.config().port, relay),
        None => url,
    }
}

impl Manager {
    async fn start(
        wiring: Wiring,
        folder: &Path,
        source: &Redis,
        redis: &Redis,
    ) -> anyhow::Result<Self> {
        let to_source = relay_to(wiring, source).await?;
        let to_redis = relay_to(wiring, redis).await?;
        let config = ManagerConfig {
            from: url_of(source, to_source.as_ref()),
            to: url_of(redis, to_redis.as_ref()),
            log: folder.join("manager.log"),
        };
        let process = config.start().await?;
        Ok(Self {
            config,
            process,
            to_source,
            to_redis,
        })
    }
}

impl Network {
    async fn between(
        redis: &Redis,
        postgres: &Postgres,
        origins: &[SocketAddr],
    ) -> anyhow::Result<Self> {
        let redis = local(redis.config().port);
        let mut origins_to_postgres = Vec::new();
        for _ in origins {
            origins_to_postgres.push(TcpRelay::to(local(postgres.port())).await?);
        }
        Ok(Self {
            edge_to_origin: TcpRelay::to(origins[0]).await?,
            origins_to_redis: TcpRelay::to(redis).await?,
            origins_to_postgres,
        })
    }
}

async fn start_origins(
    folder: &Path,
    postgres: &Postgres,
    redis: &Redis,
    network: Option<&Network>,
    listen: &[SocketAddr],
) -> anyhow::Result<Vec<Origin>> {
    let mut origins = Vec::new();
    for (number, &listen) in listen.iter().enumerate() {
        let mut database_url = postgres.url(DATABASE);
        let redis_url = url_of(redis, network.map(|network| &network.origins_to_redis));
        if let Some(network) = network {
            let to_postgres = &network.origins_to_postgres[number];
            database_url = through(&database_url, postgres.port(), to_postgres);
        }
        let config = OriginConfig {
            catalog: folder.join("catalog"),
            database_url,
            redis_url,
            listen,
            log: folder.join(format!("origin{number}.log")),
            lease: None,
            environment: Vec::new(),
        };
        if number == 0 {
            tools::output(&mut config.command(&["install"])?)?;
        }
        let server = config.start().await?;
        origins.push(Origin { config, server });
    }
    Ok(origins)
}

/// A URL that takes the way through a relay.
fn through(url: &str, port: u16, relay: &TcpRelay) -> String {
    let relay = relay.address().port();
    url.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{relay}"))
}
