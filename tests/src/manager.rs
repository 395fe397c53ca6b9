//! The cache manager: the real binary `tidemark-origin manager`, as users start it.

use std::{path::PathBuf, process::Command, time::Duration};

use rustix::process::Signal;

use crate::{
    process::{Launch, Process},
    tools,
};

const START: Duration = Duration::from_secs(30);

/// What to start.
#[derive(Clone, Debug)]
pub struct ManagerConfig {
    /// The Redis whose events it hears.
    pub from: String,
    /// The Redis to which it applies them.
    pub to: String,
    /// Where it logs.
    pub log: PathBuf,
}

impl ManagerConfig {
    /// Starts it and waits until it has found both servers.
    ///
    /// # Errors
    /// It does not start; with what it logged.
    pub async fn start(&self) -> anyhow::Result<Process> {
        let mut command = Command::new(tools::own_binary("tidemark-origin")?);
        command
            .arg("manager")
            .env("TIDEMARK_FROM", &self.from)
            .env("TIDEMARK_TO", &self.to);
        let mut manager = Process::start(Launch {
            name: "manager",
            command,
            log: self.log.clone(),
            end: Signal::TERM,
            lease: None,
        })?;
        manager.says("applying events of ", START).await?;
        Ok(manager)
    }
}
