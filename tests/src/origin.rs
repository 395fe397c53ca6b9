//! The origin: the real binary `tidemark-origin`, as users start it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    process::{Launch, Process},
    tools,
};

const START: Duration = Duration::from_secs(30);

/// What to start.
#[derive(Clone, Debug)]
pub struct OriginConfig {
    /// The catalog, or its folder.
    pub catalog: PathBuf,
    /// The database, with the password in the URL.
    pub database_url: String,
    /// The Redis, with the password in the URL, if it has one.
    pub redis_url: String,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where it logs.
    pub log: PathBuf,
    /// The file by which a later run finds it, should it be left behind.
    pub lease: Option<PathBuf>,
    /// More of its environment, such as `TIDEMARK_POLL_MS`.
    pub environment: Vec<(&'static str, String)>,
}

/// A running origin.
#[derive(Debug)]
pub struct Origin {
    process: Process,
    url: String,
}

impl OriginConfig {
    /// A command of the origin, with everything that it may need in the environment, where other
    /// users of this machine don't see passwords.
    ///
    /// # Errors
    /// The binary has not been built.
    pub fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(tools::own_binary("tidemark-origin")?);
        command
            .args(arguments)
            .env("TIDEMARK_CATALOG", &self.catalog)
            .env("DATABASE_URL", &self.database_url)
            .env("REDIS_URL", &self.redis_url)
            .env("TIDEMARK_LISTEN", self.listen.to_string())
            .envs(self.environment.iter().cloned());
        Ok(command)
    }
}

impl Origin {
    /// Starts `serve` and waits until it listens.
    ///
    /// # Errors
    /// It does not start; with what it logged.
    pub async fn start(config: &OriginConfig) -> anyhow::Result<Self> {
        let mut process = Process::start(Launch {
            name: "origin",
            command: config.command(&["serve"])?,
            log: config.log.clone(),
            end: Signal::TERM,
            lease: config.lease.clone(),
        })?;
        let url = process.says("listening on ", START).await?;
        Ok(Self { process, url })
    }

    /// Its address, as `http://127.0.0.1:3001`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where it logs.
    pub fn log(&self) -> &Path {
        self.process.log()
    }
}
