//! `audit`: is what is cached what the database says?

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use tidemark_shared::{audit::Finding, route::Router};
use tokio::time::{self, MissedTickBehavior};

use super::{
    arguments::{CatalogArgs, DatabaseArgs, RedisArgs, StatementArgs},
    output::{OutputArgs, print_json, print_line},
};
use crate::{
    audit::{Audited, Auditor, Rate, Skip},
    entries::Walk,
    repository::Repository,
};

/// After how long a run begins to show how far it has come, and how often.
const PROGRESS: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    catalog: CatalogArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
    /// How many cached answers to look at, at most.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// How many of them a second, at most.
    #[arg(long, value_name = "PER_SECOND", default_value = "20/s")]
    rate: Rate,
    #[command(flatten)]
    statements: StatementArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn audit(args: AuditArgs) -> anyhow::Result<()> {
    let Some(pause) = args.rate.pause() else {
        bail!("--rate 0 would never end; write a number of samples a second, such as 20");
    };
    let repository = Repository::load(&args.catalog.catalog)?;
    let queries = args.statements.queries(&args.database, &repository, 1);
    let queries = queries.await?;
    let keyspace = args.redis.keyspace();
    let redis = args
        .redis
        .targets()?
        .home
        .get_connection_manager()
        .await
        .context("cannot connect to Redis; is --redis right?")?;
    let routes = Router::for_origin(&repository.catalog);
    let mut auditor = Auditor {
        repository: &repository,
        routes: &routes,
        queries: &queries,
        redis,
        keyspace: &keyspace,
    };

    let mut summary = Summary::default();
    let mut seen = HashSet::new();
    let mut ticks = time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = Instant::now();
    // From anywhere to the end, then all: whoever asks for few gets them from anywhere, and whoever
    // asks for more than there are gets each of them once.
    for mut walk in [Walk::from_anywhere(&keyspace), Walk::whole(&keyspace)] {
        while summary.samples < args.samples && !walk.has_ended() {
            let Some(name) = walk.next(&mut auditor.redis).await? else {
                continue;
            };
            if !seen.insert(name.clone()) {
                continue;
            }
            ticks.tick().await;
            summary.add(&auditor.audit(&name).await?);
            if shown.elapsed() >= PROGRESS {
                shown = Instant::now();
                eprintln!(
                    "audit: {} of at most {} samples",
                    summary.samples, args.samples
                );
            }
        }
    }
    queries.close().await;
    match args.output.json {
        true => print_json(&summary.json())?,
        false => print_line(summary.text())?,
    }
    match summary.count(Finding::Violation) {
        0 => Ok(()),
        violations => bail!(
            "{violations} cached answers are not what the database says; the log above names them"
        ),
    }
}

#[derive(Debug, Default)]
struct Summary {
    samples: u32,
    findings: BTreeMap<Finding, u32>,
    skips: BTreeMap<Skip, u32>,
}

impl Summary {
    fn add(&mut self, audited: &Audited) {
        self.samples += 1;
        *self.findings.entry(audited.finding).or_default() += 1;
        if let Some(skip) = audited.skip {
            *self.skips.entry(skip).or_default() += 1;
        }
    }

    fn count(&self, finding: Finding) -> u32 {
        self.findings.get(&finding).copied().unwrap_or_default()
    }

    fn json(&self) -> serde_json::Value {
        let skips = self
            .skips
            .iter()
            .map(|(skip, count)| (skip.to_string(), count));
        serde_json::json!({
            "samples": self.samples,
            "equal": self.count(Finding::Equal),
            "explained": self.count(Finding::Explained),
            "violations": self.count(Finding::Violation),
            "skipped": self.count(Finding::Skipped),
            "skips": skips.collect::<BTreeMap<_, _>>(),
        })
    }

    /// One line: `1000 samples: 990 equal, 3 explained, 0 violations, 7 skipped (7 not fresh)`.
    fn text(&self) -> String {
        let skips: Vec<_> = self
            .skips
            .iter()
            .map(|(skip, count)| format!("{count} {skip}"))
            .collect();
        let skips = match skips.is_empty() {
            true => String::new(),
            false => format!(" ({})", skips.join(", ")),
        };
        format!(
            "{} samples: {} equal, {} explained, {} violations, {} skipped{skips}",
            self.samples,
            self.count(Finding::Equal),
            self.count(Finding::Explained),
            self.count(Finding::Violation),
            self.count(Finding::Skipped),
        )
    }
}
