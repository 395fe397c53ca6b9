//! The origin: the real binary `tidemark-origin`, as users start it.

use std::{net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use rustix::process::Signal;

use crate::{process::Launch, server::Server, tools};

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

    /// Starts `serve` and waits until it listens.
    ///
    /// # Errors
    /// It does not start; with what it logged.
    pub async fn start(&self) -> anyhow::Result<Server> {
        let launch = Launch {
            name: "origin",
            command: self.command(&["serve"])?,
            log: self.log.clone(),
            end: Signal::TERM,
            lease: self.lease.clone(),
        };
        Server::start(launch, "listening on ", START).await
    }
}
