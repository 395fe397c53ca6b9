//! `purge`: invalidates by hand what depends on a table, a member or a family.

use std::{
    collections::BTreeSet,
    io,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use tidemark_shared::{catalog::Catalog, key::Keyspace, purge::Target};

use super::{
    arguments::{CatalogArgs, DatabaseArgs, RedisArgs, place},
    output::{OutputArgs, print_json, print_line},
};
use crate::{
    purge,
    repository::Repository,
    tide::{Invalidation, Tide, TideGauge},
};

#[derive(Debug, Args)]
pub(super) struct PurgeArgs {
    /// What to invalidate: a table (orders), a member (org:42) or a whole family ('org:*').
    #[arg(value_name = "SCOPE", required_unless_present = "all")]
    scopes: Vec<String>,
    /// Invalidate everything that the catalog knows.
    #[arg(long, conflicts_with = "scopes")]
    all: bool,
    /// Also delete the entries themselves, in each --redis.
    #[arg(long)]
    hard: bool,
    #[command(flatten)]
    catalog: CatalogArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
    /// How long to wait until a relay has applied it in each --redis, in ms.
    #[arg(
        long,
        env = "TIDEMARK_INVALIDATION_WAIT_MS",
        value_name = "MS",
        default_value_t = 2_000
    )]
    invalidation_wait_ms: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// What came of a purge, in each Redis.
#[derive(Debug, Serialize)]
struct Purged {
    /// What was recorded as if it had changed.
    recorded: Vec<String>,
    regions: Vec<Region>,
}

/// One Redis.
#[derive(Debug, Serialize)]
struct Region {
    redis: String,
    /// After how long it was applied, in ms; `None` if it was not in time.
    applied_within_ms: Option<u128>,
    /// How many entries were deleted; `None` without `--hard`.
    deleted: Option<u64>,
}

pub(super) async fn purge(args: PurgeArgs) -> anyhow::Result<()> {
    let catalog = Repository::load(&args.catalog.catalog)?.catalog;
    let targets = match args.all {
        true => vec![Target::All],
        false => {
            let parse = |scope: &String| Target::parse(scope, &catalog);
            args.scopes.iter().map(parse).collect::<Result<_, _>>()?
        }
    };
    let keyspace = args.redis.keyspace();
    let redis = args.redis.targets()?;
    let redis: Vec<_> = std::iter::once(redis.home).chain(redis.others).collect();

    let touched: BTreeSet<_> = targets.iter().flat_map(|t| t.touched(&catalog)).collect();
    let at_least = purge::record(&mut args.database.connect().await?, &touched).await?;
    let recorded: Vec<_> = touched.iter().map(ToString::to_string).collect();
    if !args.output.json {
        print_recorded(&recorded)?;
    }
    let bound = Duration::from_millis(args.invalidation_wait_ms);
    let mut purged = Purged {
        recorded,
        regions: wait(&redis, &keyspace, at_least, bound).await?,
    };
    if args.hard {
        for (client, region) in redis.iter().zip(&mut purged.regions) {
            region.deleted = Some(delete(client, &keyspace, &catalog, &targets).await?);
        }
    }
    match args.output.json {
        true => print_json(&purged)?,
        false => print_regions(&purged.regions)?,
    }
    let pending = purged.regions.iter();
    let pending = pending.filter(|region| region.applied_within_ms.is_none());
    let pending: Vec<_> = pending.map(|region| region.redis.as_str()).collect();
    if !pending.is_empty() {
        bail!(
            "not applied within {bound:?} in {}; it will be as soon as a relay leads and reaches it",
            pending.join(", ")
        );
    }
    Ok(())
}

/// Waits for each Redis at the same time.
async fn wait(
    redis: &[redis::Client],
    keyspace: &Keyspace,
    at_least_ms: i64,
    bound: Duration,
) -> anyhow::Result<Vec<Region>> {
    let begun = Instant::now();
    let mut waiting = Vec::with_capacity(redis.len());
    for client in redis {
        let tide = Tide::new(TideGauge::new(), client, keyspace)?;
        waiting.push(async move {
            let reached = tide.reached(at_least_ms, bound).await;
            let applied = reached == Invalidation::Applied;
            Region {
                redis: place(client),
                applied_within_ms: applied.then(|| begun.elapsed().as_millis()),
                deleted: None,
            }
        });
    }
    Ok(futures_util::future::join_all(waiting).await)
}

async fn delete(
    client: &redis::Client,
    keyspace: &Keyspace,
    catalog: &Catalog,
    targets: &[Target],
) -> anyhow::Result<u64> {
    let place = place(client);
    let progress = |so_far: purge::Deleted| {
        eprintln!(
            "{place}: deleted {} of {} entries seen so far",
            so_far.entries, so_far.seen
        );
    };
    let deleted = purge::delete(client, keyspace, catalog, targets, progress)
        .await
        .with_context(|| format!("can't delete entries in {place}"))?;
    Ok(deleted.entries)
}

fn print_recorded(recorded: &[String]) -> io::Result<()> {
    let names: Vec<_> = recorded.iter().take(10).map(String::as_str).collect();
    let more = match recorded.len().saturating_sub(names.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    print_line(format_args!("recorded {}{more}", names.join(", ")))
}

fn print_regions(regions: &[Region]) -> io::Result<()> {
    for region in regions {
        let place = &region.redis;
        if let Some(ms) = region.applied_within_ms {
            print_line(format_args!("applied in {place} within {ms} ms"))?;
        }
        if let Some(entries) = region.deleted {
            print_line(format_args!("deleted {entries} entries in {place}"))?;
        }
    }
    Ok(())
}
