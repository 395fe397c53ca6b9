//! `check`: does the catalog fit the database?

use std::fs;

use anyhow::{Context as _, bail};
use clap::Args;
use sqlx::PgConnection;

use super::{
    arguments::{CatalogArgs, DatabaseArgs},
    output::print_line,
};
use crate::{
    check::{
        self, Examination,
        fix::{self, Change},
    },
    repository::Repository,
};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    catalog: CatalogArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Write the tables that each query reads into the catalog's reads, then check again.
    #[arg(long)]
    fix: bool,
}

pub(super) async fn check(args: CheckArgs) -> anyhow::Result<()> {
    let mut connection = args.database.connect().await?;
    let mut repository = Repository::load(&args.catalog.catalog)?;
    let mut examination = check::examine(&mut connection, &repository).await?;
    if args.fix && fix(&args.catalog, &examination)? {
        (repository, examination) = again(&args.catalog, &mut connection).await?;
    }
    for finding in &examination.findings {
        print_line(finding)?;
    }
    for warning in &examination.warnings {
        print_line(format_args!("warning: {warning}"))?;
    }
    match examination.findings.len() {
        0 => {}
        1 => bail!("1 finding"),
        more => bail!("{more} findings"),
    }
    print_line(format_args!(
        "all is well: {} queries, {} commands",
        repository.catalog.queries.len(),
        repository.catalog.commands.len()
    ))?;
    Ok(())
}

async fn again(
    catalog: &CatalogArgs,
    connection: &mut PgConnection,
) -> anyhow::Result<(Repository, Examination)> {
    let repository = Repository::load(&catalog.catalog)?;
    let examination = check::examine(connection, &repository).await?;
    Ok((repository, examination))
}

/// Rewrites the catalog's `reads`; whether there was anything to do.
fn fix(catalog: &CatalogArgs, examination: &Examination) -> anyhow::Result<bool> {
    let file = Repository::file(&catalog.catalog);
    let name = file.display().to_string();
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
    let wanted = examination
        .uses
        .iter()
        .map(|(query, used)| (query.clone(), used.reads.clone()))
        .collect();
    let fixed = fix::reads(&name, &text, &wanted)?;
    if fixed.changes.is_empty() {
        print_line(format_args!("{name}: nothing to fix in reads"))?;
        return Ok(false);
    }
    fs::write(&file, fixed.text).with_context(|| format!("cannot write {name}"))?;
    for Change {
        query,
        added,
        removed,
    } in fixed.changes
    {
        let added = added.iter().map(|table| format!("+ {table}"));
        let removed = removed.iter().map(|table| format!("- {table}"));
        let changes: Vec<_> = added.chain(removed).collect();
        print_line(format_args!(
            "{name}: query {query:?}: reads {}",
            changes.join(", ")
        ))?;
    }
    Ok(true)
}
