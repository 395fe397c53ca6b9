//! twemproxy (`nutcracker`) before two Redis servers, as edges may reach theirs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail};
use redis::{AsyncCommands as _, Client, IntoConnectionInfo as _, aio::MultiplexedConnection};
use rustix::process::Signal;

use crate::{
    port::{self, local},
    process::{Launch, Process},
    redis::Redis,
    tools,
};

const START: Duration = Duration::from_secs(10);

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub struct Nutcracker {
    url: String,
    _process: Process,
}

impl Nutcracker {
    /// Starts it in a folder of its own, before two servers with the same password, the tidemark at `home`.
    /// What is between the two characters of `hash_tag` decides where a name is, or all of it where they are
    /// not in it.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub async fn start(
        folder: &Path,
        hash_tag: &str,
        home: &Redis,
        other: &Redis,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let name = home.config().keyspace.tidemark();
        let mut at_home = home.connect().await?;
        // Where a name is depends on the servers' order alone.
        for servers in [[home, other], [other, home]] {
            let proxy = Self::start_in_order(folder, hash_tag, servers).await?;
            let mut through = proxy.connect().await?;
            let () = through.set_ex(&name, "here?", 1).await?;
            let is_here: bool = at_home.exists(&name).await?;
            let () = through.del(&name).await?;
            if is_here {
                // One that has spoken to no server yet: to a monitor, a proxy that has is no edge.
                drop((through, proxy));
                return Self::start_in_order(folder, hash_tag, servers).await;
            }
        }
        bail!("{name} is at neither server");
    }

    async fn start_in_order(
        folder: &Path,
        hash_tag: &str,
        servers: [&Redis; 2],
    ) -> anyhow::Result<Self> {
        let listen = local(port::free());
        let [first, second] = servers.map(|server| server.config().port);
        let password = servers[0].config().password.as_deref();
        let login = password.map(|password| format!("redis_auth: {password}"));
        let config = format!(
            "tidemark:
  listen: {listen}
  redis: true
  {}
  hash: fnv1a_64
  hash_tag: \"{hash_tag}\"
  distribution: modula
  auto_eject_hosts: false
  timeout: 30000
  servers:
    - 127.0.0.1:{first}:1 first
    - 127.0.0.1:{second}:1 second
",
            login.unwrap_or_default()
        );
        let path = folder.join("nutcracker.yml");
        fs::write(&path, config)?;
        let mut command = Command::new(program()?);
        command
            .arg("--conf-file")
            .arg(&path)
            .args(["--stats-addr", "127.0.0.1"])
            .args(["--stats-port", &port::free().to_string()]);
        let mut process = Process::start(Launch {
            name: "twemproxy",
            command,
            log: folder.join("nutcracker.log"),
            end: Signal::TERM,
            lease: None,
        })?;
        let password = password.map(|password| format!(":{password}@"));
        let url = format!("redis://{}{listen}", password.unwrap_or_default());
        process
            .until(START, async |_| connect(&url).await.ok())
            .await?;
        Ok(Self {
            url,
            _process: process,
        })
    }

    /// The URL, with the password in it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection to it.
    ///
    /// # Errors
    /// It is not there.
    pub async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        connect(&self.url).await
    }
}

/// Debian has it where only root's `PATH` leads.
fn program() -> anyhow::Result<PathBuf> {
    let sbin = PathBuf::from("/usr/sbin/nutcracker");
    if sbin.is_file() {
        return Ok(sbin);
    }
    tools::program("nutcracker").context("twemproxy is not installed; run: ops/setup")
}

async fn connect(url: &str) -> redis::RedisResult<MultiplexedConnection> {
    let info = url.into_connection_info()?;
    // It ends the connection on what it does not know.
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    let client = Client::open(info.set_redis_settings(settings))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let () = connection.ping().await?;
    Ok(connection)
}
