//! `warm`: fills the cache before anybody reads.

use std::{
    convert::Infallible,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use tidemark_shared::{catalog::Query, route::Router};
use tokio::time;

use super::{
    arguments::{CatalogArgs, DatabaseArgs, RedisArgs, StatementArgs},
    output::{OutputArgs, print_json, print_line},
};
use crate::{
    audit::Rate,
    fill::{self, Filler},
    repository::Repository,
    sample, shutdown,
    statement::Statement,
    warm::{self, Enumeration, Progress, Source, Warmer},
};

/// After how long a run begins to show how far it has come, and how often.
const PROGRESS: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct WarmArgs {
    /// Load the answers that were read most in the last hours, at most so many.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    hottest: u32,
    /// Load the answers of these requests instead: path and query string, one a line; - is standard
    /// input. Blank lines and those that begin with # are left out.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hottest", "query"])]
    from: Option<PathBuf>,
    /// Load all that the warm SQL of these queries enumerates instead.
    #[arg(long, value_name = "NAME", num_args = 1.., conflicts_with = "hottest")]
    query: Vec<String>,
    /// The most answers that are loaded at a time; as many connections are opened.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    concurrency: u32,
    /// The most answers that are loaded in a second. [default: as many as possible]
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<Rate>,
    #[command(flatten)]
    catalog: CatalogArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    statements: StatementArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl WarmArgs {
    fn pause(&self) -> anyhow::Result<Option<Duration>> {
        let pause = self.rate.map(|rate| {
            let pause = rate.pause();
            pause.context("--rate 0 would never end; leave it out for as many as possible")
        });
        pause.transpose()
    }
}

pub(super) async fn warm(args: WarmArgs) -> anyhow::Result<()> {
    let stop = shutdown::signal().context("cannot listen for signals")?;
    let pause = args.pause()?;
    let repository = Repository::load(&args.catalog.catalog)?;
    let routes = Router::for_edge(&repository.catalog);
    let wanted = Wanted::of(&args, &repository, &routes)?;
    let queries = args
        .statements
        .queries(&args.database, &repository, args.concurrency);
    let queries = queries.await?;
    let keyspace = args.redis.keyspace();
    let mut redis = args
        .redis
        .targets()?
        .home
        .get_connection_manager_with_config(fill::redis_config())
        .await
        .context("cannot connect to Redis; is --redis right?")?;
    let filler = Filler {
        queries: &queries,
        redis: redis.clone(),
        keyspace: &keyspace,
        stamp_ttl: repository.catalog.stamp_ttl(),
    };
    let warmer = Warmer::new(filler, usize::try_from(args.concurrency)?, pause);
    warmer.is_of_use(repository.digest).await?;

    let run = async {
        let of_targets = |targets: Vec<String>| Source::Targets {
            catalog: &repository.catalog,
            routes: &routes,
            targets: targets.into_iter(),
        };
        match wanted {
            Wanted::Hottest(most) => {
                let hottest = sample::hottest(&mut redis, &keyspace, most).await?;
                let targets = hottest.into_iter().map(|(target, _)| target);
                warmer.warm(&mut of_targets(targets.collect())).await?;
            }
            Wanted::Listed(targets) => warmer.warm(&mut of_targets(targets)).await?,
            Wanted::Enumerated(queries) => {
                for (query, statement) in queries {
                    let database = args.database.connect().await?;
                    let rows = Enumeration::begin(query, statement, database).await?;
                    warmer.warm(&mut Source::Query(rows)).await?;
                }
            }
        }
        anyhow::Ok(())
    };
    let ended = tokio::select! {
        ended = run => ended,
        () = stop => Err(anyhow!("stopped; run it again to go on, it leaves alone what is cached and fresh")),
        never = report(&warmer) => match never {},
    };
    queries.close().await;
    let progress = warmer.progress();
    match args.output.json {
        true => print_json(&progress)?,
        false => print_line(text(progress))?,
    }
    ended?;
    match progress.failed {
        0 => Ok(()),
        failed => bail!("{failed} answers were not loaded; the log above says why"),
    }
}

/// What to load.
enum Wanted<'a> {
    /// So many of those that are read most.
    Hottest(usize),
    /// The answers of these requests, which can be warmed.
    Listed(Vec<String>),
    /// All that these queries' SQL enumerates.
    Enumerated(Vec<(&'a Query, &'a Statement)>),
}

impl<'a> Wanted<'a> {
    /// Reads the arguments, and whatever they name, before anything is loaded.
    fn of(args: &WarmArgs, repository: &'a Repository, routes: &Router) -> anyhow::Result<Self> {
        if let Some(file) = &args.from {
            return Ok(Self::Listed(listed(repository, routes, file)?));
        }
        if args.query.is_empty() {
            return Ok(Self::Hottest(usize::try_from(args.hottest)?));
        }
        let named = args.query.iter().map(|name| enumerable(repository, name));
        Ok(Self::Enumerated(named.collect::<Result<_, _>>()?))
    }
}

/// The requests of a list, all of which can be warmed.
fn listed(repository: &Repository, routes: &Router, file: &Path) -> anyhow::Result<Vec<String>> {
    let is_stdin = file == Path::new("-");
    let text = match is_stdin {
        true => io::read_to_string(io::stdin()),
        false => fs::read_to_string(file),
    };
    let name = match is_stdin {
        true => "standard input".into(),
        false => file.to_string_lossy(),
    };
    let text = text.with_context(|| format!("cannot read {name}"))?;
    let mut targets = Vec::new();
    for (line, target) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| warm::is_line(line))
    {
        let target = target.trim();
        warm::question_of(&repository.catalog, routes, target)
            .with_context(|| format!("{name}, line {}", line + 1))?;
        targets.push(target.to_owned());
    }
    Ok(targets)
}

/// A query that says what is worth warming.
fn enumerable<'a>(
    repository: &'a Repository,
    name: &str,
) -> anyhow::Result<(&'a Query, &'a Statement)> {
    let queries = &repository.catalog.queries;
    let Some(query) = queries.get(name) else {
        let known: Vec<_> = queries.keys().map(String::as_str).collect();
        bail!("there is no query {name:?}; there are {}", known.join(", "));
    };
    if !query.policy.is_cacheable() {
        bail!("{name} is never cached (max_staleness = \"0s\"), so there is nothing to warm");
    }
    let statement = repository.warm.get(name).with_context(|| {
        format!(
            "{name} does not say what is worth warming; give it warm = \"FILE.sql\" in the catalog, or use --from"
        )
    })?;
    Ok((query, statement))
}

/// Tells from time to time how far a run has come.
async fn report(warmer: &Warmer<'_>) -> Infallible {
    loop {
        time::sleep(PROGRESS).await;
        eprintln!("warm: {} so far", text(warmer.progress()));
    }
}

/// `120 answers: 80 loaded, 38 already fresh, 2 not found, 0 failed`.
fn text(progress: Progress) -> String {
    format!(
        "{} answers: {} loaded, {} already fresh, {} not found, {} failed",
        progress.total(),
        progress.loaded,
        progress.fresh,
        progress.not_found,
        progress.failed,
    )
}
