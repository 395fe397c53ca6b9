//! Everything for one test: its own database, Redis, origin and edge, all of them real.
//!
//! The PostgreSQL server is shared by the tests of a process, and each test's database is a copy of
//! one that was made once. Whatever a test does to its servers, no other test notices.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use http::Method;
use redis::{FromRedisValue, aio::MultiplexedConnection};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres as Pg};
use tempfile::TempDir;
use tidemark_shared::{key::Keyspace, tidemark::Tidemark};

use crate::{
    edge::{EdgeConfig, Runner},
    erp::{self, Size},
    http::{Answer, Client},
    nutcracker::Nutcracker,
    origin::OriginConfig,
    port::{self, local},
    postgres::{self, Durability, Postgres},
    redis::{Redis, RedisConfig},
    server::Server,
    tools, wait,
};

/// The password of every test's Redis, so that logs can be searched for it.
pub const REDIS_PASSWORD: &str = "redis-secret-5c1d";

/// Running servers for one test. Dropping it ends them, the ones that depend on others first.
#[derive(Debug)]
pub struct Stack {
    /// The edge.
    pub edge: Server,
    /// The origin.
    pub origin: Server,
    /// How the origin was started.
    pub origin_config: OriginConfig,
    /// How the edge was started.
    pub edge_config: EdgeConfig,
    /// This test's Redis.
    pub redis: Redis,
    /// What is between edge and Redis, if anything is.
    pub proxy: Option<Proxy>,
    /// This test's database.
    pub database: Database,
    client: Client,
    _folder: TempDir,
}

/// What a stack is to be made of; by default the shipped example at the tests' size.
#[derive(Debug, Default)]
pub struct Setup {
    catalog: Option<OwnCatalog>,
    origin: Vec<(&'static str, String)>,
    edge: Vec<(&'static str, String)>,
    edge_environment: Vec<(&'static str, String)>,
    log_statements: bool,
    own_server: bool,
    own_redis_users: bool,
    key_prefix: Option<&'static str>,
    cluster_node: bool,
    /// What decides for twemproxy where a name is.
    hash_tag: Option<&'static str>,
}

/// twemproxy, and the second server behind it, which holds nothing of the stack's.
#[derive(Debug)]
pub struct Proxy {
    /// Where edges connect.
    pub nutcracker: Nutcracker,
    /// The second server.
    pub other: Redis,
}

impl Proxy {
    async fn before(redis: &Redis, hash_tag: &str, folder: &Path) -> anyhow::Result<Self> {
        let mut other = RedisConfig::new(&folder.join("other-redis"));
        other.password.clone_from(&redis.config().password);
        let other = Redis::start(other).await?;
        let folder = folder.join("nutcracker");
        let nutcracker = Nutcracker::start(&folder, hash_tag, redis, &other).await?;
        Ok(Self { nutcracker, other })
    }
}

/// A catalog that a test brings itself.
#[derive(Clone, Copy, Debug)]
pub struct OwnCatalog {
    /// Makes the tables in an empty database.
    pub schema: &'static str,
    /// The `tidemark.toml`.
    pub toml: &'static str,
    /// SQL files, by their names in it.
    pub sql: &'static [(&'static str, &'static str)],
}

impl OwnCatalog {
    /// Writes it to a folder.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("tidemark.toml"), self.toml)?;
        for (name, text) in self.sql {
            fs::write(folder.join(name), text)?;
        }
        Ok(())
    }
}

impl Setup {
    /// With a catalog and tables of the test's own.
    #[must_use]
    pub fn catalog(mut self, catalog: OwnCatalog) -> Self {
        self.catalog = Some(catalog);
        self
    }

    /// With an environment variable for the origin.
    #[must_use]
    pub fn origin(mut self, name: &'static str, value: impl ToString) -> Self {
        self.origin.push((name, value.to_string()));
        self
    }

    /// With a variable for the edge.
    #[must_use]
    pub fn edge(mut self, name: &'static str, value: impl ToString) -> Self {
        self.edge.push((name, value.to_string()));
        self
    }

    /// With an environment variable for what runs the edge.
    #[must_use]
    pub fn edge_environment(mut self, name: &'static str, value: impl ToString) -> Self {
        self.edge_environment.push((name, value.to_string()));
        self
    }

    /// With an edge that answers by one thread, so that all requests find the same instance.
    #[must_use]
    pub fn one_thread(self) -> Self {
        self.edge_environment("TIDEMARK_THREADS", 1)
    }

    /// With every statement logged, for [`Stack::statements`].
    #[must_use]
    pub fn log_statements(mut self) -> Self {
        self.log_statements = true;
        self
    }

    /// With a PostgreSQL server that no other test uses, to be stopped and started at will.
    #[must_use]
    pub fn own_server(mut self) -> Self {
        self.own_server = true;
        self
    }

    /// With edge and origin as the users that `ops/redis.conf` has for them.
    #[must_use]
    pub fn own_redis_users(mut self) -> Self {
        self.own_redis_users = true;
        self
    }

    /// With names in Redis that begin with something else than `tm:`.
    #[must_use]
    pub fn key_prefix(mut self, prefix: &'static str) -> Self {
        self.key_prefix = Some(prefix);
        self
    }

    /// With a Redis that is a cluster of one node.
    #[must_use]
    pub fn cluster_node(mut self) -> Self {
        self.cluster_node = true;
        self
    }

    /// With twemproxy between edge and Redis, and a second server behind it. What is between these two
    /// characters in a name decides where it is; the tidemark is where the origin writes.
    #[must_use]
    pub fn twemproxy(mut self, hash_tag: &'static str) -> Self {
        self.hash_tag = Some(hash_tag);
        self
    }

    /// Starts everything, and waits until the relay leads.
    ///
    /// # Panics
    /// Something does not start; the message has the end of its log.
    pub async fn start(self) -> Stack {
        match self.try_start().await {
            Ok(stack) => stack,
            Err(error) => panic!("the stack does not start: {error:#}"),
        }
    }

    async fn try_start(mut self) -> anyhow::Result<Stack> {
        let folder = TempDir::with_prefix("tidemark-test-")?;
        let path = folder.path();
        let (database, catalog, manifest) = match &self.catalog {
            None => (
                match self.own_server {
                    false => Database::erp().await?,
                    true => Database::on_own_server(Some(ERP_INSTALLED)).await?,
                },
                erp::catalog(),
                tools::repository().join("spin.toml"),
            ),
            Some(own) => {
                let catalog = path.join("catalog");
                own.write(&catalog)?;
                let database = match self.own_server {
                    false => Database::empty().await?,
                    true => Database::on_own_server(None).await?,
                };
                database.run(own.schema).await?;
                (database, catalog, write_manifest(path)?)
            }
        };
        let mut redis = RedisConfig::new(&path.join("redis"));
        redis.password = Some(REDIS_PASSWORD.to_owned());
        if let Some(prefix) = self.key_prefix {
            redis.keyspace = Keyspace::new(prefix);
            self.edge.push(("key_prefix", prefix.to_owned()));
            self.origin.push(("TIDEMARK_KEY_PREFIX", prefix.to_owned()));
        }
        let redis = match self.cluster_node {
            false => Redis::start(redis).await?,
            true => Redis::start_cluster_node(redis).await?,
        };
        let proxy = match self.hash_tag.or_else(hash_tag_of_all) {
            // It knows no users.
            Some(tag) if !self.own_redis_users => Some(Proxy::before(&redis, tag, path).await?),
            _ => None,
        };
        let (origin_redis, edge_redis) = if self.own_redis_users {
            (
                redis.url_of_user("tidemark-origin").await?,
                redis.url_of_user("tidemark-edge").await?,
            )
        } else {
            (redis.url(), redis.url())
        };
        let edge_redis = proxy
            .as_ref()
            .map_or(edge_redis, |proxy| proxy.nutcracker.url().to_owned());

        let origin_config = OriginConfig {
            catalog,
            database_url: database.url(),
            redis_url: origin_redis,
            listen: local(port::free()),
            log: path.join("origin.log"),
            lease: None,
            environment: self.origin,
        };
        if self.catalog.is_some() {
            tools::output(&mut origin_config.command(&["install"])?)?;
        }
        let origin = origin_config.start().await?;
        if self.log_statements {
            // From now on: the pools connect when they are first needed.
            let name = &database.name;
            let sql = format!("ALTER DATABASE {name} SET log_statement = 'all'");
            database.run(&sql).await?;
        }

        let mut variables = vec![
            ("redis_url", edge_redis),
            ("origin_url", origin.url().to_owned()),
        ];
        variables.extend(self.edge);
        let edge_config = EdgeConfig {
            runner: Runner::Host,
            manifest,
            listen: local(0),
            variables,
            environment: self.edge_environment,
            cache: edge_cache()?,
            log: path.join("edge.log"),
            lease: None,
        };
        let edge = start_edge(&edge_config).await?;
        let stack = Stack {
            edge,
            edge_config,
            origin,
            origin_config,
            redis,
            proxy,
            database,
            client: Client::default(),
            _folder: folder,
        };
        stack.relay_leads().await;
        Ok(stack)
    }
}

/// `make test-proxy`: every stack has twemproxy between edge and Redis. All names of the default namespace
/// are at one server by what is between the `t` and the `:` that they begin with.
fn hash_tag_of_all() -> Option<&'static str> {
    env::var_os("TIDEMARK_TEST_TWEMPROXY").map(|_| "t:")
}

/// The repository's manifest, for a catalog in `folder`/catalog; gives the manifest's path.
///
/// # Errors
/// The manifest can't be written, or `spin.toml` is no longer what this replaces parts of.
pub fn write_manifest(folder: &Path) -> anyhow::Result<PathBuf> {
    let root = tools::repository();
    let mut manifest = fs::read_to_string(root.join("spin.toml"))?;
    let component = root.join("target/wasm32-wasip2/release/tidemark_edge.wasm");
    for (from, to) in [
        ("target/wasm32-wasip2/release/tidemark_edge.wasm", component),
        ("examples/erp", PathBuf::from("catalog")),
    ] {
        let from = format!("source = \"{from}\"");
        anyhow::ensure!(manifest.contains(&from), "spin.toml has no {from}");
        manifest = manifest.replace(&from, &format!("source = {to:?}"));
    }
    let path = folder.join("spin.toml");
    fs::write(&path, manifest)?;
    Ok(path)
}

/// Where compiled components stay between test runs: compiling takes seconds.
///
/// # Errors
/// The folder can't be made.
pub fn edge_cache() -> anyhow::Result<PathBuf> {
    let folder = tools::own_folder()?.join("edge-cache");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// One at a time: the first one compiles the component for all.
pub(crate) async fn start_edge(config: &EdgeConfig) -> anyhow::Result<Server> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = TURN.lock().await;
    config.start().await
}

impl Stack {
    /// Starts everything, as shipped.
    ///
    /// # Panics
    /// Something does not start; the message has the end of its log.
    pub async fn start() -> Self {
        Setup::default().start().await
    }

    /// Starts with other settings than those shipped.
    pub fn with() -> Setup {
        Setup::default()
    }

    /// `GET` from the edge.
    pub async fn read(&self, path: &str) -> Answer {
        self.read_with(path, &[]).await
    }

    /// `GET` from the edge, with header fields.
    pub async fn read_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.edge(Method::GET, path, headers).await
    }

    /// Any request to the edge.
    ///
    /// # Panics
    /// No answer comes.
    pub async fn edge(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(self.edge.url(), method, path, headers, Bytes::new())
            .await
    }

    /// `GET` from the origin.
    pub async fn ask(&self, path: &str) -> Answer {
        self.send(self.origin.url(), Method::GET, path, &[], Bytes::new())
            .await
    }

    /// A command, to the origin.
    pub async fn command(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send(self.origin.url(), method, path, &[], body.to_string())
            .await
    }

    /// Any request to edge or origin.
    ///
    /// # Panics
    /// No answer comes.
    pub async fn send(
        &self,
        base: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let url = format!("{base}{path}");
        match self.client.send(method, &url, headers, body).await {
            Ok(answer) => answer,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// Reads through the edge until the answer comes from the cache. (An answer is stored after its
    /// client has it, so that a miss may well be followed by another one.)
    pub async fn hit(&self, path: &str) -> Answer {
        wait::until(
            "a hit",
            async || self.read(path).await,
            |answer| answer.cache_status() == "tidemark; hit",
        )
        .await
    }

    /// Runs SQL as anybody with `psql` would.
    ///
    /// # Panics
    /// PostgreSQL refuses.
    pub async fn sql(&self, sql: &str) {
        let run = self.database.run(sql).await;
        run.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// A single value from the database.
    ///
    /// # Panics
    /// PostgreSQL refuses.
    pub async fn value<T>(&self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, Pg> + sqlx::Type<Pg> + Send + Unpin,
    {
        let mut connection = self.database.connect().await.unwrap();
        let value = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut connection)
            .await;
        value.unwrap_or_else(|error| panic!("{error}: {sql}"))
    }

    /// Runs one Redis command, given as its words.
    ///
    /// # Panics
    /// Redis refuses.
    pub async fn redis<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.redis_connection().await;
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        let value = command.query_async(&mut connection).await;
        value.unwrap_or_else(|error| panic!("{error}: {words:?}"))
    }

    /// A connection to Redis.
    ///
    /// # Panics
    /// Redis is not there.
    pub async fn redis_connection(&self) -> MultiplexedConnection {
        self.redis.connect().await.expect("Redis answers")
    }

    /// Starts one more Redis, to which nobody writes yet; `name` is that of its folder.
    ///
    /// # Panics
    /// It does not start.
    pub async fn another_redis(&self, name: &str) -> Redis {
        let mut config = RedisConfig::new(&self._folder.path().join(name));
        config.password = Some(REDIS_PASSWORD.to_owned());
        match Redis::start(config).await {
            Ok(redis) => redis,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// Starts one more Redis, a cluster of one node, to which nobody writes yet; `name` is that of its
    /// folder.
    ///
    /// # Panics
    /// It does not start.
    pub async fn another_cluster_node(&self, name: &str) -> Redis {
        let mut config = RedisConfig::new(&self._folder.path().join(name));
        config.password = Some(REDIS_PASSWORD.to_owned());
        match Redis::start_cluster_node(config).await {
            Ok(redis) => redis,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// Starts one more Redis that begins by loading what the first one holds, and takes so long for
    /// each key of it; `name` is that of its folder.
    ///
    /// # Panics
    /// It does not start.
    pub async fn loading_redis(&self, name: &str, for_each_key: Duration) -> Redis {
        let mut config = RedisConfig::new(&self._folder.path().join(name));
        config.password = Some(REDIS_PASSWORD.to_owned());
        config.settings = vec![
            ("key-load-delay", for_each_key.as_micros().to_string()),
            // So that it answers meanwhile, if only to say that it is loading.
            ("loading-process-events-interval-bytes", "1024".to_owned()),
        ];
        let started = async {
            self.redis.save().await?.copy_to(&config.folder)?;
            Redis::start(config).await
        };
        match started.await {
            Ok(redis) => redis,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// Starts one more edge, on another Redis.
    ///
    /// # Panics
    /// It does not start.
    pub async fn another_edge(&self, redis: &Redis) -> Server {
        self.edge_with("redis_url", redis.url()).await
    }

    /// Starts one more edge, with another value of one variable.
    ///
    /// # Panics
    /// It does not start.
    pub async fn edge_with(&self, name: &'static str, value: impl ToString) -> Server {
        let mut config = self.edge_config.clone();
        config.variables.retain(|(known, _)| *known != name);
        config.variables.push((name, value.to_string()));
        config.log = self._folder.path().join("another-edge.log");
        match start_edge(&config).await {
            Ok(edge) => edge,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// `GET` from another edge.
    pub async fn read_at(&self, edge: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(edge.url(), Method::GET, path, headers, Bytes::new())
            .await
    }

    /// Reads through another edge until the answer comes from its cache.
    pub async fn hit_at(&self, edge: &Server, path: &str) -> Answer {
        wait::until(
            "a hit",
            async || self.read_at(edge, path, &[]).await,
            |answer| answer.cache_status() == "tidemark; hit",
        )
        .await
    }

    /// The keys in Redis, in order; without that of what edges count, which comes when it comes.
    pub async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.redis(&["KEYS", "*"]).await;
        keys.retain(|key| key != "tm:edge:figures");
        keys.sort();
        keys
    }

    /// The tidemark in Redis, if there is one.
    pub async fn tidemark(&self) -> Option<Tidemark> {
        self.redis.tidemark().await.expect("Redis answers")
    }

    /// The database's clock, in ms since the Unix epoch.
    pub async fn now(&self) -> i64 {
        self.value("SELECT ceil(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
            .await
    }

    /// Waits until everything committed so far has been applied to Redis, and gives that tidemark.
    pub async fn settled(&self) -> Tidemark {
        self.settled_at(&self.redis).await
    }

    /// Waits until everything committed so far has been applied to another Redis.
    pub async fn settled_at(&self, redis: &Redis) -> Tidemark {
        let now = self.now().await;
        let reached = wait::until(
            "all commits are applied",
            async || redis.tidemark().await.ok().flatten(),
            |tidemark| tidemark.is_some_and(|tidemark| tidemark.as_of >= now),
        );
        reached.await.expect("accepted")
    }

    /// Waits until a relay has written a tidemark that is later than now.
    pub async fn relay_leads(&self) {
        self.settled().await;
    }

    /// Kills the origin, as a crash would, and starts it again at the same address.
    ///
    /// # Panics
    /// It does not start.
    pub async fn restart_origin(&mut self) {
        self.origin.process().kill();
        self.start_origin().await;
    }

    /// Starts the origin again at the same address.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start_origin(&mut self) {
        match self.origin_config.start().await {
            Ok(origin) => self.origin = origin,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// The statements that the origin has run on this test's database for requests, as PostgreSQL's
    /// own log has them: all but the relay's. Only with [`Setup::log_statements`].
    ///
    /// # Panics
    /// The log can't be read.
    pub async fn statements(&self) -> Vec<String> {
        let relay: i32 = self
            .value("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
            .await;
        let log = self.database.shared.postgres.log().expect("a log");
        let of_requests = format!("tidemark-origin@{} ", self.database.name);
        log.lines()
            .filter(|line| line.contains(&of_requests) && !line.contains(&format!("[{relay}]")))
            .filter(|line| line.contains("LOG:  statement") || line.contains("LOG:  execute"))
            // Of a new connection, whoever needs it.
            .filter(|line| !line.contains("set_config"))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.database.shared.postgres.tail());
        }
    }
}

/// A database of one test's own, on the server that all tests share.
#[derive(Debug)]
pub struct Database {
    name: String,
    shared: Arc<Shared>,
}

impl Database {
    /// The example with its data and Tidemark's triggers.
    ///
    /// # Errors
    /// PostgreSQL does not start or refuses.
    pub async fn erp() -> anyhow::Result<Self> {
        Self::copy_of(Some(ERP_INSTALLED)).await
    }

    /// The example with its data, as if nobody had heard of Tidemark.
    ///
    /// # Errors
    /// PostgreSQL does not start or refuses.
    pub async fn plain_erp() -> anyhow::Result<Self> {
        Self::copy_of(Some(ERP)).await
    }

    /// Nothing at all.
    ///
    /// # Errors
    /// PostgreSQL does not start or refuses.
    pub async fn empty() -> anyhow::Result<Self> {
        Self::copy_of(None).await
    }

    async fn on_own_server(template: Option<&str>) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::start().await?);
        let name = shared.create(template).await?;
        Ok(Self { name, shared })
    }

    /// A copy of it as it is now, made by dumping and restoring it.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub async fn restored(&self) -> anyhow::Result<Self> {
        let name = self.shared.next_name();
        self.shared.postgres.restore_copy(&self.name, &name).await?;
        let shared = self.shared.clone();
        Ok(Self { name, shared })
    }

    /// The server, where it is this test's own.
    ///
    /// # Panics
    /// Other tests use it as well.
    pub fn server(&mut self) -> &mut Postgres {
        let shared = Arc::get_mut(&mut self.shared);
        &mut shared.expect("a server of this test's own").postgres
    }

    async fn copy_of(template: Option<&str>) -> anyhow::Result<Self> {
        let shared = Shared::get().await?;
        let name = shared.create(template).await?;
        Ok(Self { name, shared })
    }

    /// Its URL, with the password in it.
    pub fn url(&self) -> String {
        self.shared.postgres.url(&self.name)
    }

    /// The password in the URL.
    pub fn password(&self) -> &str {
        self.shared.postgres.password()
    }

    /// A connection to it.
    ///
    /// # Errors
    /// The server is not there.
    pub async fn connect(&self) -> sqlx::Result<PgConnection> {
        self.shared.postgres.connect(&self.name).await
    }

    /// Runs SQL in it, any number of statements.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub async fn run(&self, sql: &str) -> sqlx::Result<()> {
        let mut connection = self.connect().await?;
        // What tests write.
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
        connection.close().await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.shared.discard(std::mem::take(&mut self.name));
    }
}

const ERP: &str = "erp";
const ERP_INSTALLED: &str = "erp_installed";

/// The server that the tests of this process share, with databases to copy.
#[derive(Debug)]
struct Shared {
    postgres: Postgres,
    made: AtomicU32,
    /// Databases of tests that have ended.
    discarded: Mutex<Vec<String>>,
    _folder: TempDir,
}

impl Shared {
    /// The server, started if it does not run. The last test to hold it ends it.
    async fn get() -> anyhow::Result<Arc<Self>> {
        static RUNNING: tokio::sync::Mutex<Weak<Shared>> =
            tokio::sync::Mutex::const_new(Weak::new());
        let mut running = RUNNING.lock().await;
        if let Some(shared) = running.upgrade() {
            return Ok(shared);
        }
        let shared = Arc::new(Self::start().await?);
        *running = Arc::downgrade(&shared);
        Ok(shared)
    }

    async fn start() -> anyhow::Result<Self> {
        let folder = postgres::new_folder(&env::temp_dir(), "tidemark-tests-")?;
        let postgres = Postgres::start(folder.path(), Durability::Throwaway, None).await?;
        postgres.create_database(ERP, None).await?;
        let mut connection = postgres.connect(ERP).await?;
        erp::load(&mut connection, Size::Tests.scale(), |_| ()).await?;
        connection.close().await?;

        postgres.create_database(ERP_INSTALLED, Some(ERP)).await?;
        let install = OriginConfig {
            catalog: erp::catalog(),
            database_url: postgres.url(ERP_INSTALLED),
            redis_url: String::new(),
            listen: local(0),
            log: PathBuf::new(),
            lease: None,
            environment: Vec::new(),
        };
        tools::output(&mut install.command(&["install"])?)?;
        // The installation invalidates everything once; tests look for what they change themselves.
        let mut connection = postgres.connect(ERP_INSTALLED).await?;
        sqlx::raw_sql("DELETE FROM tidemark.outbox")
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(Self {
            postgres,
            made: AtomicU32::new(0),
            discarded: Mutex::default(),
            _folder: folder,
        })
    }

    async fn create(&self, template: Option<&str>) -> anyhow::Result<String> {
        for name in self.take_discarded() {
            self.postgres.drop_database(&name).await?;
        }
        let name = self.next_name();
        let made = self.postgres.create_database(&name, template).await;
        made.with_context(|| format!("making {name}\n{}", self.postgres.tail()))?;
        Ok(name)
    }

    fn next_name(&self) -> String {
        format!("test_{}", self.made.fetch_add(1, Ordering::Relaxed))
    }

    fn discard(&self, name: String) {
        self.discarded().push(name);
    }

    fn take_discarded(&self) -> Vec<String> {
        std::mem::take(&mut *self.discarded())
    }

    fn discarded(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.discarded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
