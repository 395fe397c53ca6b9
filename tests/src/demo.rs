//! The demo: all servers on data that stays, for a newcomer's `make demo`.

use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::{
    edge::{EdgeConfig, Runner},
    erp::{self, Size},
    http::Client,
    kept,
    lease::{self, Taken},
    origin::OriginConfig,
    port::{self, local},
    postgres::{Durability, Postgres},
    process::Process,
    redis::{Redis, RedisConfig},
    server::Server,
    tools,
};

/// The database in the demo's server.
const DATABASE: &str = "erp";

/// How long everything together may take to answer once it has been started.
const READY: Duration = Duration::from_secs(60);

/// What to start.
#[derive(Clone, Debug)]
pub struct DemoConfig {
    /// Where all data stays.
    pub folder: PathBuf,
    /// How much data.
    pub size: Size,
    /// What runs the edge.
    pub runner: Runner,
    /// The edge's port on 127.0.0.1; 0 takes a free one.
    pub edge_port: u16,
    /// The origin's port on 127.0.0.1; 0 takes a free one.
    pub origin_port: u16,
}

/// The running demo. Its fields are in the order in which they are stopped.
#[derive(Debug)]
pub struct Demo {
    env_file: EnvFile,
    edge: Server,
    origin: Server,
    redis: Redis,
    postgres: Postgres,
    /// Keeps a second demo out of the folder.
    _lease: File,
}

impl Demo {
    /// Starts everything and says what it does; returns once everything answers.
    ///
    /// # Errors
    /// Something does not start; what has been started is stopped again.
    pub async fn start(config: &DemoConfig) -> anyhow::Result<Self> {
        if config.runner == Runner::Spin {
            tools::program("spin").context(
                "RUNNER=spin needs Spin 4.1 or later (https://spinframework.dev); RUNNER=host needs nothing",
            )?;
        }
        fs::create_dir_all(&config.folder)
            .with_context(|| format!("can't make {}", config.folder.display()))?;
        let folder = config.folder.canonicalize()?;
        let lease = take_folder(&folder)?;
        let env_file = EnvFile::new(&folder)?;
        for name in ["edge", "origin", "redis", "postgres"] {
            end_leftover(&folder, name)?;
        }
        check_port(config.edge_port, "EDGE_PORT")?;
        check_port(config.origin_port, "ORIGIN_PORT")?;

        say("starting PostgreSQL and Redis");
        let postgres = Postgres::start(
            &kept::postgres_folder(&folder, "tidemark-demo-", |line| say(line))?,
            Durability::Durable,
            Some(lease_of(&folder, "postgres")),
        )
        .await?;
        let mut redis = RedisConfig::new(&folder.join("redis"));
        redis.lease = Some(lease_of(&folder, "redis"));
        let redis = Redis::start(redis).await?;
        kept::load(&postgres, DATABASE, config.size, |line| say(line)).await?;

        // The console is to know where the edge will be, which has to know where the origin is.
        let edge_at = local(match config.edge_port {
            0 => port::free(),
            port => port,
        });
        let origin = start_origin(config, &folder, &postgres, &redis, edge_at).await?;
        let edge = start_edge(config, &folder, &origin, &redis, edge_at).await?;
        let mut demo = Self {
            env_file,
            edge,
            origin,
            redis,
            postgres,
            _lease: lease,
        };
        demo.answers().await?;
        demo.env_file.write(&[
            ("EDGE_URL", demo.edge.url()),
            ("ORIGIN_URL", demo.origin.url()),
            ("DATABASE_URL", &demo.postgres.url(DATABASE)),
            ("REDIS_URL", &demo.redis.url()),
        ])?;
        Ok(demo)
    }

    /// The edge's address.
    pub fn edge(&self) -> &str {
        self.edge.url()
    }

    /// The origin's address.
    pub fn origin(&self) -> &str {
        self.origin.url()
    }

    /// The database's address, with the password in it.
    pub fn database(&self) -> String {
        self.postgres.url(DATABASE)
    }

    /// What a newcomer can do now.
    pub fn welcome(&self) -> String {
        let edge = self.edge.url();
        let origin = self.origin.url();
        let database = self.postgres.url(DATABASE);
        let redis = self.redis.url();
        let env_file = self.env_file.path.display();
        format!(
            "
Tidemark is up. Ctrl-C stops it and keeps the data; `make clean-demo` removes that.

  edge        {edge}
  origin      {origin}
  console     {origin}/console/
  PostgreSQL  {database}
  Redis       {redis}
              (for scripts: {env_file})

Try these in another terminal:

  # A six-table JOIN: from PostgreSQL the first time, from Redis the second. See Cache-Status.
  curl -i '{edge}/org/42/dashboard?from=2025-01-01&to=2025-03-31'

  # An order: the next read of organization 42 has it, and that of 43 is still a hit.
  curl -i {origin}/org/42/orders -d '{{\"customer\":42,\"date\":\"2025-03-31\",\"items\":[{{\"product\":7,\"quantity\":2}}]}}'

  # The same for whoever else writes: plain SQL, past Tidemark.
  psql '{database}' -c \"UPDATE orders SET status = 'cancelled' WHERE org_id = 42 AND ordered_on = '2025-03-31'\"

  # What is cached, by readable names.
  redis-cli -u {redis} KEYS 'tm:*'

  # Stock is never cached (max_staleness = \"0s\"); everything else shows how old it is at most.
  curl -i {edge}/inventory/7
"
        )
    }

    /// Waits until one of the servers ends, which none should, and says what it said last.
    pub async fn failure(&mut self) -> anyhow::Error {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tick.tick().await;
            for process in self.processes() {
                if let Some(status) = process.exited() {
                    let (name, tail) = (process.name(), process.tail());
                    return anyhow::anyhow!("{name} has ended ({status})\n{tail}");
                }
            }
        }
    }

    /// Stops everything in order: whoever depends on others first.
    pub fn stop(mut self) {
        self.env_file.remove();
        for process in self.processes() {
            process.stop();
        }
    }

    fn processes(&mut self) -> [&mut Process; 4] {
        [
            self.edge.process(),
            self.origin.process(),
            self.redis.process(),
            self.postgres.process(),
        ]
    }

    /// Waits until a request gets through all of it, without leaving anything in the cache: the
    /// first answer that the newcomer sees is to be a miss.
    async fn answers(&mut self) -> anyhow::Result<()> {
        let client = Client::default();
        let through = format!("{}/inventory/7", self.edge.url());
        self.edge
            .process()
            .until(READY, async |_| {
                let answer = client.get(&through).await.ok()?;
                answer.status.is_success().then_some(())
            })
            .await?;
        let redis = &self.redis;
        self.origin
            .process()
            .until(READY, async |_| {
                let mut connection = redis.connect().await.ok()?;
                let mut exists = redis::cmd("EXISTS");
                let exists = exists.arg("tm:tidemark");
                let leads: bool = exists.query_async(&mut connection).await.ok()?;
                leads.then_some(())
            })
            .await
    }
}

/// Tells the newcomer what happens. Nobody may be listening any more, which is no error.
pub fn say(what: impl Display) {
    let _ = writeln!(io::stdout(), "demo: {what}");
}

fn lease_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.pid"))
}

/// Two demos can't share a folder.
fn take_folder(folder: &Path) -> anyhow::Result<File> {
    match lease::take(&lease_of(folder, "demo"))? {
        Taken::Ours(lease) => {
            lease::sign(&lease, std::process::id())?;
            Ok(lease)
        }
        Taken::By(id) => {
            let id = id.map(|id| format!(" (process {})", id.as_raw_nonzero()));
            bail!(
                "a demo is running in {} already{}; stop that one first",
                folder.display(),
                id.unwrap_or_default()
            )
        }
    }
}

/// Ends a server of an earlier demo that was killed before it could do that itself.
fn end_leftover(folder: &Path, name: &str) -> anyhow::Result<()> {
    let signal = match name {
        "postgres" => rustix::process::Signal::INT,
        _ => rustix::process::Signal::TERM,
    };
    let (_, found) = lease::take_over(&lease_of(folder, name), signal)
        .with_context(|| format!("a {name} of an earlier demo is in the way"))?;
    if found {
        say(format_args!(
            "ended a {name} that an earlier demo had left behind"
        ));
    }
    Ok(())
}

/// Found before the data is loaded, not after.
fn check_port(port: u16, variable: &str) -> anyhow::Result<()> {
    if port == 0 || port::is_free(port) {
        return Ok(());
    }
    bail!(
        "port {port} is taken; choose another one: make demo {variable}={}",
        port::free()
    )
}

async fn start_origin(
    config: &DemoConfig,
    folder: &Path,
    postgres: &Postgres,
    redis: &Redis,
    edge_at: SocketAddr,
) -> anyhow::Result<Server> {
    let origin = OriginConfig {
        catalog: erp::catalog(),
        database_url: postgres.url(DATABASE),
        redis_url: redis.url(),
        listen: local(config.origin_port),
        log: folder.join("origin.log"),
        lease: Some(lease_of(folder, "origin")),
        environment: vec![("TIDEMARK_CONSOLE_DEMO", format!("http://{edge_at}"))],
    };
    let installed = tools::output(&mut origin.command(&["install"])?)?;
    say(format_args!("triggers: {}", installed.trim()));
    say("starting origin and edge");
    origin.start().await
}

async fn start_edge(
    config: &DemoConfig,
    folder: &Path,
    origin: &Server,
    redis: &Redis,
    edge_at: SocketAddr,
) -> anyhow::Result<Server> {
    let cache = folder.join("edge");
    fs::create_dir_all(&cache)?;
    EdgeConfig {
        runner: config.runner,
        manifest: tools::repository().join("spin.toml"),
        listen: edge_at,
        variables: vec![
            ("redis_url", redis.url()),
            ("origin_url", origin.url().to_owned()),
            // The console's page asks the edge as well.
            ("cors_origins", console_origins(origin.url())),
        ],
        environment: Vec::new(),
        cache,
        log: folder.join("edge.log"),
        lease: Some(lease_of(folder, "edge")),
    }
    .start()
    .await
}

/// The names by which a browser on this machine may have come to the console.
fn console_origins(origin: &str) -> String {
    format!("{origin},{}", origin.replace("127.0.0.1", "localhost"))
}

/// `demo.env`: where everything is, for scripts. It is there exactly as long as everything answers.
#[derive(Debug)]
struct EnvFile {
    path: PathBuf,
}

impl EnvFile {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let this = Self {
            path: folder.join("demo.env"),
        };
        this.remove();
        Ok(this)
    }

    /// Whole or not at all; it holds a password.
    fn write(&self, variables: &[(&str, &str)]) -> anyhow::Result<()> {
        let new = self.path.with_extension("env.new");
        let mut options = File::options();
        let mut file = options
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        for (name, value) in variables {
            writeln!(file, "{name}='{}'", value.replace('\'', r"'\''"))?;
        }
        fs::rename(new, &self.path)?;
        Ok(())
    }

    fn remove(&self) {
        // It may not be there.
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        self.remove();
    }
}
