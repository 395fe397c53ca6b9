//! Whoever answers the same questions on the same servers, and is compared.
//!
//! One file for each: how it is started, as its own experts would, and what it promises.

pub mod native;
pub mod nestjs;
pub mod nginx;
pub mod tidemark;

use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidemark_tests::{http::Client, server::Server};

use crate::usage;

/// What makes a contender's cached answers go when the data changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invalidation {
    /// Nothing is cached.
    Uncached,
    /// Any change in PostgreSQL, whoever makes it.
    AnyChange,
    /// Changes that are made through this contender; others are seen when the time is over.
    OwnWrites,
    /// Time alone.
    Time,
    /// Nothing: it only shows how fast an answer can be.
    Never,
}

/// How the server that answers reads is ended. The others are asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is asked to, for others depend on it.
    InOrder,
    /// It is killed: it has nothing to end, and would only wait.
    AtOnce,
}

/// A running contender. Dropping it ends its servers, the first one first.
#[derive(Debug)]
pub struct Contender {
    /// What it is called in tables.
    pub name: String,
    /// Where it answers reads, as `http://127.0.0.1:3000`.
    pub reads: String,
    /// Where it takes writes, if it does.
    pub writes: Option<String>,
    /// What makes its answers go.
    pub invalidation: Invalidation,
    /// The processes that answer reads, whose CPU time is counted; their children's is as well.
    pub answering: Vec<u32>,
    /// Where it counts requests that shared the statement of another one, which asked the same at the same time;
    /// `None` where each has a statement of its own.
    pub metrics: Option<String>,
    /// All its servers: those that depend on others first.
    pub servers: Vec<Server>,
    /// How the first of them is ended.
    pub ending: Ending,
    /// Where they keep what need not outlive them.
    pub folder: Option<TempDir>,
}

impl Contender {
    /// A contender that is one server.
    pub fn of(name: impl Into<String>, invalidation: Invalidation, mut server: Server) -> Self {
        Self {
            name: name.into(),
            reads: server.url().to_owned(),
            writes: None,
            invalidation,
            answering: vec![server.process().id()],
            metrics: None,
            servers: vec![server],
            ending: Ending::InOrder,
            folder: None,
        }
    }

    /// The CPU time that its answering processes have used so far.
    ///
    /// # Errors
    /// One of them has ended.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        usage::cpu(&self.answering)
    }

    /// How many requests have shared the statement of another one so far.
    ///
    /// # Errors
    /// It does not tell, though it should.
    pub async fn coalesced(&self, client: &Client) -> anyhow::Result<u64> {
        let Some(metrics) = &self.metrics else {
            return Ok(0);
        };
        let answer = client.get(metrics).await?;
        ensure!(answer.status.is_success(), "{answer:?}");
        tidemark::coalesced(str::from_utf8(&answer.body)?)
    }

    /// Where it answers this path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.reads)
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        if self.ending == Ending::AtOnce
            && let Some(server) = self.servers.first_mut()
        {
            server.process().kill();
        }
    }
}

/// A contender's name, short enough for a legend.
pub fn legend(contender: &str) -> String {
    let contender = contender.replace("CacheInterceptor", "interceptor");
    let counted = contender
        .strip_suffix(" processes")
        .or_else(|| contender.strip_suffix(" process"));
    match counted.and_then(|name| name.rsplit_once(", ")) {
        Some((name, processes)) => format!("{name}, × {processes}"),
        None => contender,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legend_is_short() {
        assert_eq!(
            legend("NestJS by hand, local, 2 processes"),
            "NestJS by hand, local, × 2"
        );
        assert_eq!(legend("NestJS by hand, 1 process"), "NestJS by hand, × 1");
        assert_eq!(
            legend("NestJS CacheInterceptor, objects, 5 min, 2 processes"),
            "NestJS interceptor, objects, 5 min, × 2"
        );
        assert_eq!(legend("nginx, 1 s"), "nginx, 1 s");
    }
}
