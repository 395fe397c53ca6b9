//! What is measured: one module for each workload, which runs it and puts its part into the report.

pub mod article;
pub mod latency;

use std::path::Path;

use clap::ValueEnum;

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
    pub const ALL: [Self; 2] = [Self::Latency, Self::Article];

    /// The name of its results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Article => "article",
        }
    }

    /// The heading of its part of the report.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Latency => "Latency and throughput of one answer",
            Self::Article => "The article's setting: reads, writes and stale answers",
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
        }
    }

    /// Puts the latest result into the report, and gives the conditions of that; `None` if there is none.
    ///
    /// # Errors
    /// The result is of another version.
    pub fn report(self, results: &Results, page: &mut Page) -> anyhow::Result<Option<About>> {
        match self {
            Self::Latency => show(results, self, page, latency::report),
            Self::Article => show(results, self, page, article::report),
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
