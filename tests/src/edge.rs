//! The edge: the component, in `tidemark-host` or in Spin, by the very `spin.toml` of the repository.

use std::{net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use clap::ValueEnum;
use rustix::process::Signal;

use crate::{process::Launch, server::Server, tools};

/// Includes compiling the component, the first time.
const START: Duration = Duration::from_secs(120);

/// What runs the component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Runner {
    /// `tidemark-host`, which comes with this repository.
    Host,
    /// `spin up`, from the PATH.
    Spin,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// What runs the component.
    pub runner: Runner,
    /// The manifest.
    pub manifest: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The application's variables, by their names in the manifest.
    pub variables: Vec<(&'static str, String)>,
    /// Environment variables for the runner itself.
    pub environment: Vec<(&'static str, String)>,
    /// Where the runner keeps the compiled component, or its state.
    pub cache: PathBuf,
    /// Where it logs.
    pub log: PathBuf,
    /// The file by which a later run finds it, should it be left behind.
    pub lease: Option<PathBuf>,
}

impl EdgeConfig {
    fn command(&self) -> anyhow::Result<Command> {
        let mut command = match self.runner {
            Runner::Host => {
                let mut command = Command::new(tools::own_binary("tidemark-host")?);
                command.arg("--cache-dir").arg(&self.cache);
                command
            }
            Runner::Spin => {
                let mut command = Command::new(tools::program("spin")?);
                command.arg("up").arg("--state-dir").arg(&self.cache);
                command
            }
        };
        command
            .arg("--from")
            .arg(&self.manifest)
            .args(["--listen", &self.listen.to_string()]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for (name, value) in &self.variables {
            command.env(format!("SPIN_VARIABLE_{}", name.to_uppercase()), value);
        }
        Ok(command)
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// It does not start; with what it logged.
    pub async fn start(&self) -> anyhow::Result<Server> {
        let launch = Launch {
            name: "edge",
            command: self.command()?,
            log: self.log.clone(),
            end: Signal::TERM,
            lease: self.lease.clone(),
        };
        Server::start(launch, "Serving ", START).await
    }
}
