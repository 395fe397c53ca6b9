//! Runs wrk.

use std::{io::Write as _, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use tempfile::NamedTempFile;
use tidemark_tests::tools;
use tokio::process::Command;

use super::{Load, parse};

const SCRIPT: &str = include_str!("wrk.lua");

/// Who has answered nothing in this time won't.
const LONGEST: Duration = Duration::from_secs(15);

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// The server, as `http://127.0.0.1:3000`.
    pub server: String,
    /// The path; with one or two `%d` in it (or `%02d`, as in C) if there are several.
    pub path: String,
    /// The numbers that stand for `%d`: the first, and how many there are. Each request takes any, for each
    /// place anew.
    pub numbers: Option<(u64, u64)>,
    /// Header fields of each request.
    pub headers: Vec<(String, String)>,
}

/// What every client says, or nearly so.
const TAKES_GZIP: (&str, &str) = ("Accept-Encoding", "gzip");

impl Requests {
    /// The same path again and again, by clients that take gzip.
    pub fn same(server: &str, path: &str) -> Self {
        let plain = Self {
            server: server.to_owned(),
            path: path.to_owned(),
            ..Self::default()
        };
        plain.header(TAKES_GZIP.0, TAKES_GZIP.1)
    }

    /// Any of several paths: `count` numbers from `first` stand for the path's `%d`.
    pub fn any_of(server: &str, path: &str, first: u64, count: u64) -> Self {
        Self {
            numbers: Some((first, count)),
            ..Self::same(server, path)
        }
    }

    /// By clients that do not take gzip.
    #[must_use]
    pub fn without_gzip(mut self) -> Self {
        self.headers.retain(|(name, _)| name != TAKES_GZIP.0);
        self
    }

    /// With a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The load generator.
#[derive(Debug)]
pub struct Wrk {
    program: std::path::PathBuf,
    script: NamedTempFile,
}

impl Wrk {
    /// Finds it.
    ///
    /// # Errors
    /// It is not installed.
    pub fn find() -> anyhow::Result<Self> {
        let program =
            tools::program("wrk").context("the load generator; run: ops/setup --bench")?;
        let mut script = NamedTempFile::new()?;
        script.write_all(SCRIPT.as_bytes())?;
        Ok(Self { program, script })
    }

    /// Asks for so long on so many connections; for longer, if nothing is answered in that time.
    ///
    /// # Errors
    /// Any request fails, or nothing is answered at all.
    pub async fn run(
        &self,
        requests: &Requests,
        connections: u32,
        mut time: Duration,
    ) -> anyhow::Result<Load> {
        loop {
            let load = self.load(requests, connections, time).await?;
            if load.requests > 0 {
                return Ok(load);
            }
            ensure!(time < LONGEST, "{} answers nothing", requests.server);
            time *= 4;
        }
    }

    async fn load(
        &self,
        requests: &Requests,
        connections: u32,
        time: Duration,
    ) -> anyhow::Result<Load> {
        let mut command = self.command(time);
        // The load shares the cores with the servers; a second thread only where one may not be enough.
        let threads = if connections >= 16 { 2 } else { 1 };
        command
            .args(["--threads", &threads.to_string()])
            .args(["--connections", &connections.to_string()])
            .args(["--duration", &format!("{}s", time.as_secs().max(1))])
            .args(["--timeout", "30s"])
            .arg("--script")
            .arg(self.script.path());
        for (name, value) in &requests.headers {
            command.args(["--header", &format!("{name}: {value}")]);
        }
        match requests.numbers {
            None => {
                command.arg(format!("{}{}", requests.server, requests.path));
            }
            Some((first, count)) => {
                command
                    .args([&requests.server, "--", &requests.path])
                    .args([count.to_string(), first.to_string()]);
            }
        }
        let output = command
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "wrk fails ({}): {complaint}{text}",
            output.status
        );
        parse(&text).with_context(|| format!("{}{}", requests.server, requests.path))
    }

    /// wrk counts in whole seconds. For less it is interrupted before its time, upon which it tells its result.
    fn command(&self, time: Duration) -> Command {
        if time.subsec_nanos() == 0 {
            return Command::new(&self.program);
        }
        let mut command = Command::new("timeout");
        command
            .args(["--foreground", "--preserve-status", "--signal=INT"])
            .arg(time.as_secs_f64().to_string())
            .arg(&self.program);
        command
    }
}
