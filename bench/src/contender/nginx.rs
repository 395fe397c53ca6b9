//! nginx's `proxy_cache` before the origin: see `bench/peers/nginx.conf`.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;
use tempfile::TempDir;
use tidemark_tests::{
    port::{self, local},
    process::{Launch, Process, Signal},
    server::Server,
    tools,
};
use tokio::net::TcpStream;

use super::{Contender, Invalidation, tidemark};
use crate::site::{Database, Site};

const TEMPLATE: &str = include_str!("../../peers/nginx.conf");

/// Memory that looks like a folder, where there is one.
const MEMORY: &str = "/dev/shm";

const START: Duration = Duration::from_secs(10);

/// How long it keeps an answer. It counts whole seconds, so that each may become one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Valid {
    /// The least that it can, and the nearest to Tidemark's default promise.
    OneSecond,
    /// As long as the example's catalog has as `ttl`.
    FiveMinutes,
}

impl Valid {
    /// As its configuration has it.
    const fn as_written(self) -> &'static str {
        match self {
            Self::OneSecond => "1s",
            Self::FiveMinutes => "5m",
        }
    }

    /// What the contender is called in tables.
    pub const fn contender(self) -> &'static str {
        match self {
            Self::OneSecond => "nginx, 1 s",
            Self::FiveMinutes => "nginx, 5 min",
        }
    }
}

/// Starts it before an origin that remembers nothing. Reads and writes go through it.
///
/// # Errors
/// It is not installed, or it or the origin does not start.
pub async fn start(site: &Site, database: &Database, valid: Valid) -> anyhow::Result<Contender> {
    let mut origin = tidemark::uncached(site, database).await?;
    let folder = folder()?;
    let listen = local(port::free()).to_string();
    let config = folder.path().join("nginx.conf");
    let origin_at = origin.reads.trim_start_matches("http://");
    fs::write(&config, filled(folder.path(), &listen, origin_at, valid))?;

    let mut command = Command::new(program()?);
    command.arg("-c").arg(&config);
    if fs::metadata(folder.path())?.uid() == 0 {
        // Otherwise its workers become another user, who may not enter the folder.
        command.args(["-g", "user root;"]);
    }
    let mut process = Process::start(Launch {
        name: "nginx",
        command,
        log: site.file("nginx.log"),
        end: Signal::TERM,
        lease: None,
    })?;
    process
        .until(START, async |_| TcpStream::connect(&listen).await.ok())
        .await?;

    let server = Server::of(process, format!("http://{listen}"));
    let mut contender = Contender::of(valid.contender(), Invalidation::Time, server);
    contender.writes = Some(contender.reads.clone());
    contender.servers.append(&mut origin.servers);
    contender.folder = Some(folder);
    Ok(contender)
}

fn filled(folder: &Path, listen: &str, origin: &str, valid: Valid) -> String {
    TEMPLATE
        .replace("@folder@", &folder.to_string_lossy())
        .replace("@listen@", listen)
        .replace("@origin@", origin)
        .replace("@valid@", valid.as_written())
}

fn folder() -> anyhow::Result<TempDir> {
    let mut named = tempfile::Builder::new();
    let named = named.prefix("tidemark-bench-nginx-");
    let made = match Path::new(MEMORY).is_dir() {
        true => named.tempdir_in(MEMORY),
        false => named.tempdir(),
    };
    made.context("a folder for nginx")
}

/// Debian has it where only root's `PATH` leads.
fn program() -> anyhow::Result<PathBuf> {
    let sbin = PathBuf::from("/usr/sbin/nginx");
    if sbin.is_file() {
        return Ok(sbin);
    }
    tools::program("nginx").context("nginx is not installed; run: ops/setup --bench")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_template_is_left_open() {
        let config = filled(
            Path::new("/tmp/n"),
            "127.0.0.1:80",
            "127.0.0.1:81",
            Valid::OneSecond,
        );
        assert!(!config.contains('@'), "{config}");
        assert!(config.contains("proxy_cache_valid 200 1s;"));
        assert!(config.contains("server 127.0.0.1:81;"));
    }
}
