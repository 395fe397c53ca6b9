//! `purge`: invalidates by hand what depends on a table, a member or a family.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use tidemark_shared::{catalog::Catalog, key::Keyspace, purge::Target};

use super::{
    arguments::{CatalogArgs, DatabaseArgs, RedisArgs, place},
    output::print_line,
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
    let names: Vec<_> = touched.iter().take(10).map(ToString::to_string).collect();
    let more = touched.len().saturating_sub(names.len());
    let more = (more > 0).then(|| format!(" and {more} more"));
    print_line(format_args!(
        "recorded {}{}",
        names.join(", "),
        more.unwrap_or_default()
    ))?;

    let bound = Duration::from_millis(args.invalidation_wait_ms);
    let pending = wait(&redis, &keyspace, at_least, bound).await?;
    if args.hard {
        for client in &redis {
            delete(client, &keyspace, &catalog, &targets).await?;
        }
    }
    if !pending.is_empty() {
        bail!(
            "not applied within {bound:?} in {}; it will be as soon as a relay leads and reaches it",
            pending.join(", ")
        );
    }
    Ok(())
}

/// Waits for each Redis at the same time; gives those where it is not applied in time.
async fn wait(
    redis: &[redis::Client],
    keyspace: &Keyspace,
    at_least_ms: i64,
    bound: Duration,
) -> anyhow::Result<Vec<String>> {
    let begun = Instant::now();
    let mut waiting = Vec::with_capacity(redis.len());
    for client in redis {
        let tide = Tide::new(TideGauge::new(), client, keyspace)?;
        waiting.push(async move {
            let reached = tide.reached(at_least_ms, bound).await;
            (client, reached, begun.elapsed())
        });
    }
    let mut pending = Vec::new();
    for (client, reached, took) in futures_util::future::join_all(waiting).await {
        match reached {
            Invalidation::Applied => print_line(format_args!(
                "applied in {} within {} ms",
                place(client),
                took.as_millis()
            ))?,
            Invalidation::Pending => pending.push(place(client)),
        }
    }
    Ok(pending)
}

async fn delete(
    client: &redis::Client,
    keyspace: &Keyspace,
    catalog: &Catalog,
    targets: &[Target],
) -> anyhow::Result<()> {
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
    print_line(format_args!(
        "deleted {} entries in {place}",
        deleted.entries
    ))?;
    Ok(())
}
