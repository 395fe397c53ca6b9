//! The edge: the component, in `tidemark-host` or in Spin, by the very `spin.toml` of the repository.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use clap::ValueEnum;
use rustix::process::Signal;

use crate::{
    process::{Launch, Process},
    tools,
};

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
    /// Where the runner keeps the compiled component, or its state.
    pub cache: PathBuf,
    /// Where it logs.
    pub log: PathBuf,
    /// The file by which a later run finds it, should it be left behind.
    pub lease: Option<PathBuf>,
}

/// A running edge.
#[derive(Debug)]
pub struct Edge {
    process: Process,
    url: String,
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
        for (name, value) in &self.variables {
            command.env(format!("SPIN_VARIABLE_{}", name.to_uppercase()), value);
        }
        Ok(command)
    }
}

impl Edge {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// It does not start; with what it logged.
    pub async fn start(config: &EdgeConfig) -> anyhow::Result<Self> {
        let mut process = Process::start(Launch {
            name: "edge",
            command: config.command()?,
            log: config.log.clone(),
            end: Signal::TERM,
            lease: config.lease.clone(),
        })?;
        let url = process.says("Serving ", START).await?;
        Ok(Self { process, url })
    }

    /// Its address, as `http://127.0.0.1:3000`.
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
