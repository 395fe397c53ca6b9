//! A process that serves HTTP and says where.

use std::{path::Path, time::Duration};

use crate::process::{Launch, Process};

/// A running HTTP server.
#[derive(Debug)]
pub struct Server {
    process: Process,
    url: String,
}

impl Server {
    /// Starts it and waits until it prints its address behind `announcement`, at most `limit`.
    ///
    /// # Errors
    /// It does not start; with what it logged.
    pub async fn start(
        launch: Launch,
        announcement: &str,
        limit: Duration,
    ) -> anyhow::Result<Self> {
        let mut process = Process::start(launch)?;
        let url = process.says(announcement, limit).await?;
        Ok(Self { process, url })
    }

    /// A process that serves at this address already.
    pub fn of(process: Process, url: String) -> Self {
        Self { process, url }
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
