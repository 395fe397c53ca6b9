//! The servers that all contenders share in a run: PostgreSQL with the example's data, and Redis.

pub mod age;
pub mod catalog;
pub mod database;
pub mod entries;
pub mod statement;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use redis::aio::MultiplexedConnection;
use tidemark_tests::{
    erp::Size,
    kept,
    lease::{self, Taken},
    postgres::{Durability, Postgres},
    process::Signal,
    redis::{Redis, RedisConfig},
    stack, tools,
};

pub use self::database::Database;
use crate::say;

/// The database that holds the example's data as it was loaded. Nobody works in it: runs copy it.
const LOADED: &str = "loaded";

/// Enough for a million entries; the same rules apply as with the recommended 256 MB.
const REDIS_MEMORY: &str = "6gb";

/// The servers of a run. Dropping it ends them.
#[derive(Debug)]
pub struct Site {
    /// The Redis of all contenders.
    pub redis: Redis,
    /// The PostgreSQL of all contenders.
    pub postgres: Postgres,
    size: Size,
    folder: PathBuf,
    manifest: PathBuf,
    /// Keeps a second run out of the folder.
    _lease: File,
}

impl Site {
    /// Starts the servers in a folder, in which the example's data stays for the next run.
    ///
    /// # Errors
    /// Another run is in the folder, or a server does not start.
    pub async fn start(folder: &Path, size: Size) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let lease = take_folder(&folder)?;
        say("starting PostgreSQL and Redis");
        let home = kept::postgres_folder(&folder, "tidemark-bench-", |line| say(line))?;
        let lease_of = |name: &str| folder.join(format!("{name}.pid"));
        // On the least data nothing is measured, and its copies need not wait for the disk.
        let durability = match size {
            Size::Tests => Durability::Throwaway,
            Size::Demo | Size::Full => Durability::Measured,
        };
        let postgres = Postgres::start(&home, durability, Some(lease_of("postgres"))).await?;
        let mut redis = RedisConfig::new(&folder.join("redis"));
        redis.lease = Some(lease_of("redis"));
        redis.settings.push(("maxmemory", REDIS_MEMORY.to_owned()));
        let redis = Redis::start(redis).await?;
        kept::load(&postgres, LOADED, size, |line| say(line)).await?;
        catalog::write(&folder.join("catalog"))?;
        let manifest = stack::write_manifest(&folder)?;
        Ok(Self {
            redis,
            postgres,
            size,
            manifest,
            folder,
            _lease: lease,
        })
    }

    /// How much data the example has here.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The catalog of the run: the example's and the benchmarks' own queries.
    pub fn catalog(&self) -> PathBuf {
        self.folder.join("catalog")
    }

    /// The repository's `spin.toml`, with that catalog.
    pub fn manifest(&self) -> &Path {
        &self.manifest
    }

    /// A file of the run, such as a log.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A connection to Redis.
    ///
    /// # Errors
    /// Redis is not there.
    pub async fn redis(&self) -> anyhow::Result<MultiplexedConnection> {
        Ok(self.redis.connect().await?)
    }

    /// Empties Redis.
    ///
    /// # Errors
    /// Redis is not there.
    pub async fn flush_redis(&self) -> anyhow::Result<()> {
        let mut redis = self.redis().await?;
        let () = redis::cmd("FLUSHALL").query_async(&mut redis).await?;
        Ok(())
    }

    /// Makes a database with the example's data, the benchmarks' own tables and Tidemark's triggers; one of
    /// this name that is there is dropped.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub async fn database(&self, name: &'static str) -> anyhow::Result<Database> {
        let database = self.plain_database(name).await?;
        database.install(&self.catalog())?;
        Ok(database)
    }

    /// The same without triggers: nothing in it knows of Tidemark.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub async fn plain_database(&self, name: &'static str) -> anyhow::Result<Database> {
        self.copy(name, Some(LOADED)).await
    }

    /// The same with as much data of the example as is asked for, which takes as long as loading it.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub async fn scaled_database(
        &self,
        name: &'static str,
        scale: tidemark_tests::erp::Scale,
    ) -> anyhow::Result<Database> {
        self.postgres.drop_database(name).await?;
        self.postgres.create_database(name, None).await?;
        let mut connection = self.postgres.connect(name).await?;
        tidemark_tests::erp::load(&mut connection, scale, |_| ()).await?;
        drop(connection);
        let database = Database::of(&self.postgres, name);
        database.run(catalog::SCHEMA).await?;
        database.run(&catalog::scope_tables()).await?;
        database.install(&self.catalog())?;
        Ok(database)
    }

    async fn copy(&self, name: &'static str, from: Option<&str>) -> anyhow::Result<Database> {
        self.postgres.drop_database(name).await?;
        let made = self.postgres.create_database(name, from).await;
        made.with_context(|| format!("making {name}\n{}", self.postgres.tail()))?;
        let database = Database::of(&self.postgres, name);
        database.run(catalog::SCHEMA).await?;
        database.run(&catalog::scope_tables()).await?;
        Ok(database)
    }

    /// What has been started outside of the run's own servers that are still there, for messages.
    pub fn has_tool(name: &str) -> anyhow::Result<PathBuf> {
        tools::program(name)
    }
}

/// Two runs can't share a folder; and a run that was killed may have left servers behind.
fn take_folder(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("bench.pid");
    match lease::take(&path)? {
        Taken::Ours(file) => {
            lease::sign(&file, std::process::id())?;
            for (name, signal) in [("redis", Signal::TERM), ("postgres", Signal::INT)] {
                lease::take_over(&folder.join(format!("{name}.pid")), signal)
                    .with_context(|| format!("a {name} of an earlier run is in the way"))?;
            }
            Ok(file)
        }
        Taken::By(_) => bail!(
            "a benchmark is running in {} already; wait for it, or stop it",
            folder.display()
        ),
    }
}
