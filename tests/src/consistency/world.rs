//! The servers of a consistency test: one PostgreSQL, its origins, and regions of Redis and edge.
//!
//! Direct wiring is for speed. Relayed wiring has two origins, one of which waits to lead, and a
//! [`TcpRelay`] on every path, so that the network can fail as well. (Both origins reach Redis by the
//! same path: they are to know it as one region, whoever leads.)

use std::{net::SocketAddr, os::unix::fs::PermissionsExt as _, path::Path};

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

use super::workload;
use crate::{
    edge::{EdgeConfig, Runner},
    origin::OriginConfig,
    port::{self, local},
    postgres::{Durability, Postgres},
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
    /// The regions; the first one is the origins' own.
    pub regions: Vec<Region>,
    /// The origins; edges ask the one that [`Network::edge_to_origin`] leads to.
    pub origins: Vec<Origin>,
    /// The database's server.
    pub postgres: Postgres,
    /// The network, where it can fail.
    pub network: Option<Network>,
    _folder: TempDir,
}

/// A region: a Redis and an edge. (And, once there is one, what brings the relay's news there.)
#[derive(Debug)]
pub struct Region {
    /// The edge.
    pub edge: Server,
    /// Its Redis.
    pub redis: Redis,
    /// From the edge to its Redis, where that can fail.
    pub edge_to_redis: Option<TcpRelay>,
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
        let folder = tempfile::Builder::new()
            .prefix("tidemark-consistency-")
            // The account that runs PostgreSQL has to get in.
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()?;
        let path = folder.path();
        let durability = Durability::SurvivesCrash;
        let postgres = Postgres::start(&path.join("postgres"), durability, None).await?;
        postgres.create_database(DATABASE, None).await?;
        let mut database = postgres.connect(DATABASE).await?;
        sqlx::raw_sql(workload::CATALOG.schema)
            .execute(&mut database)
            .await?;
        workload::CATALOG.write(&path.join("catalog"))?;

        let mut redis = RedisConfig::new(&path.join("redis"));
        redis.settings = vec![("enable-debug-command", "local")];
        let redis = Redis::start(redis).await?;
        let listen: Vec<SocketAddr> = match wiring {
            Wiring::Direct => vec![local(port::free())],
            Wiring::Relayed => vec![local(port::free()), local(port::free())],
        };
        let network = match wiring {
            Wiring::Direct => None,
            Wiring::Relayed => Some(Network::between(&redis, &postgres, &listen).await?),
        };
        let origins = start_origins(path, &postgres, &redis, network.as_ref(), &listen).await?;
        let region = Region::start(path, redis, network.as_ref(), &origins[0]).await?;
        Ok(Self {
            regions: vec![region],
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
        self.regions.iter().map(|region| region.edge.url())
    }

    /// Where commands go: the path that the edge takes to the origin.
    pub fn commands(&self) -> String {
        match &self.network {
            Some(network) => format!("http://{}", network.edge_to_origin.address()),
            None => self.origins[0].server.url().to_owned(),
        }
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
        let mut redis_url = redis.url();
        if let Some(network) = network {
            let to_postgres = &network.origins_to_postgres[number];
            database_url = through(&database_url, postgres.port(), to_postgres);
            redis_url = through(&redis_url, redis.config().port, &network.origins_to_redis);
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

impl Region {
    async fn start(
        folder: &Path,
        redis: Redis,
        network: Option<&Network>,
        origin: &Origin,
    ) -> anyhow::Result<Self> {
        let port = redis.config().port;
        let (edge_to_redis, redis_url, origin_url) = match network {
            None => (None, redis.url(), origin.server.url().to_owned()),
            Some(network) => {
                let relay = TcpRelay::to(local(port)).await?;
                let redis_url = through(&redis.url(), port, &relay);
                let origin_url = format!("http://{}", network.edge_to_origin.address());
                (Some(relay), redis_url, origin_url)
            }
        };
        let edge = start_edge(&EdgeConfig {
            runner: Runner::Host,
            manifest: write_manifest(folder)?,
            listen: local(0),
            variables: vec![("redis_url", redis_url), ("origin_url", origin_url)],
            cache: edge_cache()?,
            log: folder.join("edge.log"),
            lease: None,
        })
        .await?;
        Ok(Self {
            edge,
            redis,
            edge_to_redis,
        })
    }
}

/// A URL that takes the way through a relay.
fn through(url: &str, port: u16, relay: &TcpRelay) -> String {
    let relay = relay.address().port();
    url.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{relay}"))
}
