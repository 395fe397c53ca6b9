//! `check`: does the catalog fit the database?

use std::{fs, io, path::Path};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use sqlx::PgConnection;

use super::{
    arguments::{CatalogArgs, DatabaseArgs},
    output::{OutputArgs, print_json, print_line},
};
use crate::{
    check::{
        self, Examination, Finding,
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
    #[command(flatten)]
    output: OutputArgs,
}

/// What a program reads.
#[derive(Serialize)]
struct Checked<'a> {
    /// What was rewritten in the catalog; nothing without `--fix`.
    fixed: &'a [Change],
    findings: &'a [Finding],
    warnings: &'a [Finding],
    queries: usize,
    commands: usize,
}

pub(super) async fn check(args: CheckArgs) -> anyhow::Result<()> {
    let mut connection = args.database.connect().await?;
    let mut repository = Repository::load(&args.catalog.catalog)?;
    let mut examination = check::examine(&mut connection, &repository).await?;
    let mut fixed = Vec::new();
    if args.fix {
        fixed = fix(&args.catalog, &examination)?;
        if !fixed.is_empty() {
            (repository, examination) = again(&args.catalog, &mut connection).await?;
        }
    }
    let checked = Checked {
        fixed: &fixed,
        findings: &examination.findings,
        warnings: &examination.warnings,
        queries: repository.catalog.queries.len(),
        commands: repository.catalog.commands.len(),
    };
    if args.output.json {
        print_json(&checked)?;
    } else {
        if args.fix {
            print_fixed(&Repository::file(&args.catalog.catalog), &fixed)?;
        }
        print_checked(&checked)?;
    }
    match examination.findings.len() {
        0 => Ok(()),
        1 => bail!("1 finding"),
        more => bail!("{more} findings"),
    }
}

fn print_checked(checked: &Checked<'_>) -> io::Result<()> {
    for finding in checked.findings {
        print_line(finding)?;
    }
    for warning in checked.warnings {
        print_line(format_args!("warning: {warning}"))?;
    }
    if checked.findings.is_empty() {
        print_line(format_args!(
            "all is well: {} queries, {} commands",
            checked.queries, checked.commands
        ))?;
    }
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

/// Rewrites the catalog's `reads`; gives what there was to do.
fn fix(catalog: &CatalogArgs, examination: &Examination) -> anyhow::Result<Vec<Change>> {
    let file = Repository::file(&catalog.catalog);
    let name = file.display().to_string();
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
    let wanted = examination
        .uses
        .iter()
        .map(|(query, used)| (query.clone(), used.reads.clone()))
        .collect();
    let fixed = fix::reads(&name, &text, &wanted)?;
    if !fixed.changes.is_empty() {
        fs::write(&file, fixed.text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(fixed.changes)
}

fn print_fixed(file: &Path, changes: &[Change]) -> io::Result<()> {
    let name = file.display();
    if changes.is_empty() {
        print_line(format_args!("{name}: nothing to fix in reads"))?;
    }
    for Change {
        query,
        added,
        removed,
    } in changes
    {
        let added = added.iter().map(|table| format!("+ {table}"));
        let removed = removed.iter().map(|table| format!("- {table}"));
        let changes: Vec<_> = added.chain(removed).collect();
        print_line(format_args!(
            "{name}: query {query:?}: reads {}",
            changes.join(", ")
        ))?;
    }
    Ok(())
}
