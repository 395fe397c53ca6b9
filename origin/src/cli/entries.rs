//! `get` and `keys`: what is cached, and whether an edge would serve it.

use std::collections::HashSet;

use anyhow::Context as _;
use clap::Args;
use redis::aio::ConnectionManager;
use tidemark_shared::{key::Keyspace, purge::Target, route::Router};

use super::{
    arguments::{CatalogArgs, RedisArgs},
    output::{OutputArgs, moment, print_json, print_json_line, print_line, print_text},
};
use crate::{
    clock::now_ms,
    entries::{InspectError, Inspection, Inspector, Walk},
    purge::pattern,
    repository::Repository,
};

#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// The request whose answer is looked for (/orgs/42/dashboard?region=north), or the name of an
    /// entry in Redis.
    #[arg(value_name = "REQUEST|KEY")]
    what: String,
    /// Print the answer itself, and nothing else.
    #[arg(long, conflicts_with = "json")]
    body: bool,
    #[command(flatten)]
    catalog: CatalogArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct KeysArgs {
    /// What the entries depend on: a table (orders), a member (org:42) or a whole family ('org:*').
    #[arg(value_name = "SCOPE", required_unless_present = "all")]
    scope: Option<String>,
    /// Every entry.
    #[arg(long, conflicts_with = "scope")]
    all: bool,
    /// How many entries to list, at most.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
    #[command(flatten)]
    catalog: CatalogArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn get(args: GetArgs) -> anyhow::Result<()> {
    let repository = Repository::load(&args.catalog.catalog)?;
    let keyspace = args.redis.keyspace();
    let routes = Router::for_origin(&repository.catalog);
    let mut inspector = Inspector {
        catalog: &repository.catalog,
        routes: &routes,
        keyspace: &keyspace,
        redis: connect(&args.redis).await?,
    };
    let inspection = match args.what.starts_with('/') {
        true => inspector.of_request(&args.what).await?,
        false => inspector.of_name(&named(&args.what, &keyspace)).await?,
    };
    if args.body {
        print_line(String::from_utf8_lossy(&inspection.body))?;
    } else if args.output.json {
        print_json(&inspection)?;
    } else {
        print_text(text(&inspection))?;
    }
    Ok(())
}

pub(super) async fn keys(args: KeysArgs) -> anyhow::Result<()> {
    let repository = Repository::load(&args.catalog.catalog)?;
    let catalog = &repository.catalog;
    let target = match &args.scope {
        Some(scope) => Target::parse(scope, catalog)?,
        None => Target::All,
    };
    let keyspace = args.redis.keyspace();
    let routes = Router::for_origin(catalog);
    let mut redis = connect(&args.redis).await?;
    let mut inspector = Inspector {
        catalog,
        routes: &routes,
        keyspace: &keyspace,
        redis: redis.clone(),
    };
    let mut walk = Walk::matching(pattern(&keyspace, std::slice::from_ref(&target)));
    // Redis may name a key twice while it makes room for more.
    let mut listed = HashSet::new();
    while !walk.has_ended() {
        let Some(name) = walk.next(&mut redis).await? else {
            continue;
        };
        let depends = keyspace
            .parse_entry(&name)
            .is_some_and(|entry| target.holds(&entry, catalog));
        if !depends || listed.contains(&name) {
            continue;
        }
        if listed.len() == args.limit {
            eprintln!("there are more; --limit lists so many");
            break;
        }
        match inspector.of_name(&name).await {
            Ok(inspection) if args.output.json => print_json_line(&inspection)?,
            Ok(inspection) => print_line(line(&inspection))?,
            Err(InspectError::Redis(error)) => return Err(error.into()),
            // It has gone meanwhile.
            Err(InspectError::Absent(_)) => continue,
            Err(odd) => eprintln!("{odd}"),
        }
        listed.insert(name);
    }
    if listed.is_empty() {
        eprintln!("nothing is cached that depends on this");
    }
    Ok(())
}

async fn connect(args: &RedisArgs) -> anyhow::Result<ConnectionManager> {
    args.targets()?
        .home
        .get_connection_manager()
        .await
        .context("cannot connect to Redis; is --redis right?")
}

/// A key's name in Redis, whether its prefix was written or not.
fn named(key: &str, keyspace: &Keyspace) -> String {
    match keyspace.parse_entry(key) {
        Some(_) => key.to_owned(),
        None => keyspace.named(key),
    }
}

fn line(seen: &Inspection) -> String {
    format!(
        "{:<10} {:>8} bytes  {}",
        seen.outcome, seen.body_bytes, seen.request
    )
}

fn text(seen: &Inspection) -> String {
    let age = now_ms().saturating_sub(seen.as_of_ms).max(0) / 1_000;
    let edge = match seen.proven_at_ms {
        Some(proven_at_ms) => format!(
            "serves it ({}), proven {}",
            seen.outcome,
            moment(proven_at_ms)
        ),
        None => format!("would load it anew ({})", seen.outcome),
    };
    let expires = match seen.expires_in_ms {
        Some(ms) => format!("in {} s", ms / 1_000),
        None => "never".to_owned(),
    };
    let rows = [
        ("request", seen.request.clone()),
        ("query", seen.query.clone()),
        ("key", seen.name.clone()),
        ("edge", edge),
        ("status", seen.status.to_string()),
        (
            "body",
            format!(
                "{} bytes, stored as {}, {}",
                seen.body_bytes, seen.encoding, seen.etag
            ),
        ),
        ("made", format!("{}, {age} s ago", moment(seen.as_of_ms))),
        ("fresh", format!("until {}", moment(seen.fresh_until_ms))),
        (
            "expires",
            format!("{expires}, {} bytes in Redis", seen.entry_bytes),
        ),
        ("epoch", seen.epoch.clone()),
        ("scopes", seen.scopes.join(", ")),
    ];
    rows.iter()
        .map(|(name, value)| format!("{name:<8} {value}\n"))
        .collect()
}
