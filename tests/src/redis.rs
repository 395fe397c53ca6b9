//! A private Redis, with the same `ops/redis.conf` that is recommended to users.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;
use redis::{
    AsyncCommands as _, AsyncConnectionConfig, Client, IntoConnectionInfo as _,
    aio::MultiplexedConnection,
};
use rustix::process::Signal;
use tidemark_shared::{key::Keyspace, tidemark::Tidemark};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpStream,
};

use crate::{
    port::{self, local},
    process::{Launch, Process},
    tools,
};

const START: Duration = Duration::from_secs(20);

/// What Redis loads when it starts.
const DUMP: &str = "dump.rdb";

/// A running server.
#[derive(Debug)]
pub struct Redis {
    config: RedisConfig,
    process: Process,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// For its log, and for what [`Redis::save`] stores; by itself it stores nothing.
    pub folder: PathBuf,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// What clients have to know, if anything.
    pub password: Option<String>,
    /// The file by which a later run finds it, should it be left behind.
    pub lease: Option<PathBuf>,
    /// Settings beyond those of `ops/redis.conf`.
    pub settings: Vec<(&'static str, String)>,
    /// Tidemark's names in it.
    pub keyspace: Keyspace,
}

impl RedisConfig {
    /// On a free port, open to this machine.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            port: port::free(),
            password: None,
            lease: None,
            settings: Vec::new(),
            keyspace: Keyspace::default(),
        }
    }

    /// The URL, with the password in it.
    pub fn url(&self) -> String {
        let login = self
            .password
            .as_ref()
            .map(|password| format!(":{password}@"));
        format!(
            "redis://{}127.0.0.1:{}",
            login.unwrap_or_default(),
            self.port
        )
    }
}

/// What a server held at some moment.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
}

impl Snapshot {
    /// Puts it into the folder of a server that is to begin with it.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn copy_to(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        fs::copy(&self.path, folder.join(DUMP))?;
        Ok(())
    }
}

impl Redis {
    /// Starts it.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub async fn start(config: RedisConfig) -> anyhow::Result<Self> {
        fs::create_dir_all(&config.folder)?;
        let mut command = Command::new(
            tools::program("redis-server").context("Redis is not installed; run: ops/setup")?,
        );
        // A copy: a server rewrites its file when Sentinel tells it to.
        let file = config.folder.join("redis.conf");
        fs::copy(tools::repository().join("ops/redis.conf"), &file)?;
        command
            .arg(file)
            .args(["--port", &config.port.to_string(), "--dir"])
            .arg(&config.folder);
        for (name, value) in &config.settings {
            command.args([&format!("--{name}"), value]);
        }
        if let Some(password) = &config.password {
            command.args(["--requirepass", password]);
        }
        let mut process = Process::start(Launch {
            name: "Redis",
            command,
            log: config.folder.join("redis.log"),
            end: Signal::TERM,
            lease: config.lease.clone(),
        })?;
        let client = Client::open(config.url())?;
        process
            .until(START, async |_| {
                client.get_multiplexed_async_connection().await.ok()
            })
            .await?;
        Ok(Self { config, process })
    }

    /// Starts it as the only node of a cluster, which has all slots.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub async fn start_cluster_node(mut config: RedisConfig) -> anyhow::Result<Self> {
        config.settings.extend([
            ("cluster-enabled", "yes".to_owned()),
            ("cluster-port", port::free().to_string()),
        ]);
        let mut this = Self::start(config).await?;
        let mut connection = this.connect().await?;
        let () = redis::cmd("CLUSTER")
            .arg("ADDSLOTSRANGE")
            .arg(&[0, 16_383])
            .query_async(&mut connection)
            .await?;
        this.process
            .until(START, async |_| {
                let mut info = redis::cmd("CLUSTER");
                let info = info.arg("INFO").query_async::<String>(&mut connection);
                let stands = info.await.ok()?.contains("cluster_state:ok");
                stands.then_some(())
            })
            .await?;
        Ok(this)
    }

    /// The URL, with the password in it.
    pub fn url(&self) -> String {
        self.config.url()
    }

    /// Turns on one of the users that `ops/redis.conf` defines, and gives the URL with their password.
    ///
    /// # Errors
    /// The server is not there, or the file defines no such user.
    pub async fn url_of_user(&self, user: &str) -> anyhow::Result<String> {
        const PASSWORD: &str = "user-secret-77ab";
        let mut connection = self.connect().await?;
        let known: Vec<String> = redis::cmd("ACL")
            .arg("USERS")
            .query_async(&mut connection)
            .await?;
        anyhow::ensure!(known.iter().any(|it| it == user), "no user {user}");
        let () = redis::cmd("ACL")
            .arg(&["SETUSER", user, "on", &format!(">{PASSWORD}")])
            .query_async(&mut connection)
            .await?;
        let port = self.config.port;
        Ok(format!("redis://{user}:{PASSWORD}@127.0.0.1:{port}"))
    }

    /// How it was started.
    pub fn config(&self) -> &RedisConfig {
        &self.config
    }

    /// The server's process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// A connection, more patient than the client's own half a second.
    ///
    /// # Errors
    /// The server is not there.
    pub async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let patient = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(START))
            .set_response_timeout(Some(START));
        Client::open(self.url().into_connection_info()?)?
            .get_multiplexed_async_connection_with_config(&patient)
            .await
    }

    /// The tidemark that it holds, if there is one.
    ///
    /// # Errors
    /// The server is not there.
    pub async fn tidemark(&self) -> redis::RedisResult<Option<Tidemark>> {
        let mut connection = self.connect().await?;
        let bytes: Option<Vec<u8>> = connection.get(self.config.keyspace.tidemark()).await?;
        Ok(bytes.and_then(|bytes| Tidemark::parse(&bytes)))
    }

    /// How much memory it says that it uses, in bytes.
    ///
    /// # Errors
    /// The server is not there.
    pub async fn used_memory(&self) -> redis::RedisResult<u64> {
        let mut connection = self.connect().await?;
        let info: redis::InfoDict = redis::cmd("INFO")
            .arg("memory")
            .query_async(&mut connection)
            .await?;
        Ok(info.get("used_memory").unwrap_or_default())
    }

    /// Listens to the relay's events from now on.
    ///
    /// # Errors
    /// The server is not there.
    pub async fn events(&self) -> redis::RedisResult<redis::aio::PubSub> {
        let client = Client::open(self.url().into_connection_info()?)?;
        let mut events = client.get_async_pubsub().await?;
        events.subscribe(self.config.keyspace.events()).await?;
        Ok(events)
    }

    /// Starts it again on the same port, empty: as after a crash or a failover that lost all.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.stop();
        *self = Self::start(self.config.clone()).await?;
        Ok(())
    }

    /// Keeps everything that it holds now, for [`Redis::crash_back_to`].
    ///
    /// # Errors
    /// The server is not there, or can't write.
    pub async fn save(&self) -> anyhow::Result<Snapshot> {
        let mut connection = self.connect().await?;
        let () = redis::cmd("SAVE").query_async(&mut connection).await?;
        // Under another name: a later start is to be empty again.
        let path = self.config.folder.join("saved.rdb");
        fs::rename(self.config.folder.join(DUMP), &path)?;
        Ok(Snapshot { path })
    }

    /// Kills it and starts it again on the same port with what it held when that was saved: as
    /// after a failover to a replica that lagged behind.
    ///
    /// # Errors
    /// It does not start.
    pub async fn crash_back_to(&mut self, snapshot: &Snapshot) -> anyhow::Result<()> {
        self.process.kill();
        snapshot.copy_to(&self.config.folder)?;
        *self = Self::start(self.config.clone()).await?;
        fs::remove_file(self.config.folder.join(DUMP))?;
        Ok(())
    }
}

impl Redis {
    /// Watches every command that the server executes from now on.
    ///
    /// # Errors
    /// The server is not there.
    pub async fn monitor(&self) -> anyhow::Result<Monitor> {
        let mut stream = TcpStream::connect(local(self.config.port)).await?;
        if let Some(password) = &self.config.password {
            stream
                .write_all(format!("AUTH {password}\r\n").as_bytes())
                .await?;
        }
        stream.write_all(b"MONITOR\r\n").await?;
        let mut monitor = Monitor {
            lines: BufReader::new(stream).lines(),
            markers: self.connect().await?,
            known: Vec::new(),
        };
        // Whoever speaks before this point is known: the relay, in a stack that has just started.
        let list: String = redis::cmd("CLIENT")
            .arg("LIST")
            .query_async(&mut monitor.markers)
            .await?;
        monitor.known = list
            .lines()
            .filter_map(|client| {
                client
                    .split(' ')
                    .find_map(|field| field.strip_prefix("addr="))
            })
            .map(str::to_owned)
            .collect();
        monitor.commands().await?;
        Ok(monitor)
    }
}

/// A connection that sees all commands, and tells them apart by who sent them.
pub struct Monitor {
    lines: Lines<BufReader<TcpStream>>,
    markers: MultiplexedConnection,
    /// Addresses of the clients that were connected when it began.
    known: Vec<String>,
}

impl Monitor {
    /// The commands since the last call that came from clients who were not connected when the
    /// monitor began: each as Redis shows it, e.g. `"MGET" "tm:tidemark"`. Without what edges count and tell
    /// about a second later, which no request waits for.
    ///
    /// # Errors
    /// The server is gone.
    pub async fn commands(&mut self) -> anyhow::Result<Vec<String>> {
        let lines = self.lines().await?;
        let new = lines.into_iter().filter(|line| {
            line.client != "lua" && !self.known.contains(&line.client) && !line.is_tally()
        });
        Ok(new.map(|line| line.command).collect())
    }

    /// How often an edge has told about its reads since the last call.
    ///
    /// # Errors
    /// The server is gone.
    pub async fn tallies(&mut self) -> anyhow::Result<usize> {
        let lines = self.lines().await?;
        Ok(lines.iter().filter(|line| line.is_tally()).count())
    }

    /// The term of each tidemark that has been written since the last call, whoever wrote it.
    ///
    /// # Errors
    /// The server is gone.
    pub async fn tidemark_terms(&mut self) -> anyhow::Result<Vec<i64>> {
        let lines = self.lines().await?;
        let term = |line: Line| {
            let (_, json) = line.command.split_once(r#""SET" "tm:tidemark" ""#)?;
            let (_, term) = json.split_once(r#"\"term\":"#)?;
            term.split_once(',')?.0.parse().ok()
        };
        Ok(lines.into_iter().filter_map(term).collect())
    }

    async fn lines(&mut self) -> anyhow::Result<Vec<Line>> {
        const MARKER: &str = "seen up to here";
        let () = redis::cmd("ECHO")
            .arg(MARKER)
            .query_async(&mut self.markers)
            .await?;
        let mut lines = Vec::new();
        loop {
            let line = self
                .lines
                .next_line()
                .await?
                .context("Redis closed the monitor")?;
            if line.contains(MARKER) {
                return Ok(lines);
            }
            // +1763863200.123456 [0 127.0.0.1:40000] "MGET" "tm:tidemark"
            let Some((_, rest)) = line.split_once(" [") else {
                continue;
            };
            let Some((client, command)) = rest.split_once("] ") else {
                continue;
            };
            let address = client
                .split_once(' ')
                .map_or(client, |(_, address)| address);
            lines.push(Line {
                client: address.to_owned(),
                command: with_its_name_in_capitals(command),
            });
        }
    }
}

/// Whoever sent it, be it a proxy that writes `"mget"`.
fn with_its_name_in_capitals(command: &str) -> String {
    let (name, arguments) = command.split_at(command.find(' ').unwrap_or(command.len()));
    format!("{}{arguments}", name.to_ascii_uppercase())
}

/// What a monitor saw.
struct Line {
    /// The client's address; `lua` where a script ran it.
    client: String,
    command: String,
}

impl Line {
    fn is_tally(&self) -> bool {
        let counts = |name| self.command.contains(name);
        self.command.starts_with("\"EVAL\"")
            && (counts("\"tm:hot:") || counts("\"tm:edge:figures\""))
    }
}
