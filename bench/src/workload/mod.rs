//! What is measured: one module for each workload, which runs it and puts its part into the report.

pub mod article;
pub mod growth;
pub mod latency;
pub mod start;
pub mod turn;
pub mod writers;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::ValueEnum;
use tidemark_tests::http::{Answer, Client};

use crate::{
    load::Wrk,
    report::Page,
    results::{About, Results},
    scale::Scale,
    site::Site,
};

/// A part of the benchmarks that can be run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Latency, throughput and CPU of one answer.
    Latency,
    /// The article's setting: mixed reads and writes, stale answers, and hits against what was possible.
    Article,
    /// How cost grows: keys, scopes, bytes, organizations, writers.
    Growth,
    /// The cost of capture and of the relay.
    Writers,
    /// Start, memory and size.
    Start,
}

/// What workloads run on.
#[derive(Debug)]
pub struct Bench {
    /// The servers that all share.
    pub site: Site,
    /// The load generator.
    pub wrk: Wrk,
    /// How thoroughly to measure.
    pub scale: Scale,
    /// Whether NestJS and nginx take part.
    pub peers: bool,
}

impl Bench {
    /// Starts the servers that all share.
    ///
    /// # Errors
    /// wrk is not installed, or a server does not start.
    pub async fn start(folder: &Path, scale: Scale, peers: bool) -> anyhow::Result<Self> {
        let wrk = Wrk::find()?;
        let site = Site::start(folder, scale.size()).await?;
        Ok(Self {
            site,
            wrk,
            scale,
            peers,
        })
    }
}

impl Workload {
    /// All, in the order of the report.
    pub const ALL: [Self; 5] = [
        Self::Latency,
        Self::Article,
        Self::Growth,
        Self::Writers,
        Self::Start,
    ];

    /// The name of its results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Article => "article",
            Self::Growth => "growth",
            Self::Writers => "writers",
            Self::Start => "start",
        }
    }

    /// The heading of its part of the report.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Latency => "Latency and throughput of one answer",
            Self::Article => "The article's setting: reads, writes and stale answers",
            Self::Growth => "Growth",
            Self::Writers => "Writers and the relay",
            Self::Start => "Start, memory and size",
        }
    }

    /// Measures, and keeps the result.
    ///
    /// # Errors
    /// Something does not start, or does not answer as it should.
    pub async fn run(self, bench: &Bench, results: &Results, about: &About) -> anyhow::Result<()> {
        match self {
            Self::Latency => results.save(self.name(), about, &latency::run(bench).await?),
            Self::Article => results.save(self.name(), about, &article::run(bench).await?),
            Self::Growth => results.save(self.name(), about, &growth::run(bench).await?),
            Self::Writers => results.save(self.name(), about, &writers::run(bench).await?),
            Self::Start => results.save(self.name(), about, &start::run(bench).await?),
        }
    }

    /// Puts the latest result into the report, and gives the conditions of that; `None` if there is none.
    ///
    /// # Errors
    /// The result can't be read, or a plot not drawn.
    pub fn report(self, results: &Results, page: &mut Page) -> anyhow::Result<Option<About>> {
        match self {
            Self::Latency => show(results, self, page, latency::report),
            Self::Article => show(results, self, page, article::report),
            Self::Growth => show(results, self, page, growth::report),
            Self::Writers => show(results, self, page, writers::report),
            Self::Start => show(results, self, page, start::report),
        }
    }
}

/// Loads a result and hands it to its own reporter, in a section of its own.
fn show<T: serde::de::DeserializeOwned>(
    results: &Results,
    workload: Workload,
    page: &mut Page,
    report: impl FnOnce(&T, &mut Page) -> anyhow::Result<()>,
) -> anyhow::Result<Option<About>> {
    page.section(workload.title());
    let Some(saved) = results.load(workload.name())? else {
        page.text("Not measured yet.");
        return Ok(None);
    };
    report(&saved.outcome, page)?;
    Ok(Some(saved.about))
}

/// How long a question is asked until it is answered as it should, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until the answer comes about as it should: with this status and, where one is given, this
/// `Cache-Status`. (An answer is stored after its client has it, so a miss may well be followed by another.)
///
/// # Errors
/// The status is another one, or it never comes about so.
pub async fn settle(
    client: &Client,
    url: &str,
    headers: &[(&str, &str)],
    status: u16,
    cache_status: Option<&str>,
) -> anyhow::Result<Answer> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = client.send(http::Method::GET, url, headers, "").await?;
        ensure!(answer.status == status, "{url}: {answer:?}");
        if cache_status.is_none_or(|wanted| answer.cache_status() == wanted) {
            return Ok(answer);
        }
        ensure!(
            Instant::now() < deadline,
            "{url} is answered {:?}, not {cache_status:?}",
            answer.cache_status()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
