//! `status`: is everything well, and if not, what is there to do?

use anyhow::bail;
use clap::Args;
use futures_util::future::{join, join_all};

use super::{
    arguments::{CatalogArgs, DatabaseArgs, RedisArgs, place},
    output::{OutputArgs, print_json, print_text},
};
use crate::{
    repository::Repository,
    status::{self, Expectation, Level, Observation, Report},
};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    catalog: CatalogArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn status(args: StatusArgs) -> anyhow::Result<()> {
    let repository = Repository::load(&args.catalog.catalog)?;
    let keyspace = args.redis.keyspace();
    let expected = Expectation {
        repository: &repository,
        keyspace: &keyspace,
    };
    let database = args.database.parse()?;
    let targets = args.redis.targets()?;
    let redis: Vec<_> = std::iter::once(targets.home)
        .chain(targets.others)
        .collect();
    let looking = redis
        .iter()
        .map(async |client| status::redis(client, &place(client), expected).await);
    let (database, redis) = join(status::database(&database, expected), join_all(looking)).await;
    let report = Report::of(std::iter::once(database).chain(redis).collect());
    match args.output.json {
        true => print_json(&report)?,
        false => print_text(text(&report))?,
    }
    match report.count(Level::Problem) {
        0 => Ok(()),
        1 => bail!("1 problem"),
        problems => bail!("{problems} problems"),
    }
}

/// One screen: what is as it should be in one line each, everything else with what to do.
fn text(report: &Report) -> String {
    let mut text = String::new();
    for part in &report.parts {
        text.push_str(&format!("{}\n", part.name));
        for Observation {
            subject,
            level,
            text: seen,
            advice,
        } in &part.observations
        {
            text.push_str(&format!("  {subject:<9} {:<8} {seen}\n", level.name()));
            if let Some(advice) = advice {
                text.push_str(&format!("  {:<18} → {advice}\n", ""));
            }
        }
    }
    text.push_str(match report.level {
        Level::Ok => "all is well\n",
        Level::Warning => "it works; see the warnings\n",
        Level::Problem => "not all is well\n",
    });
    text
}
