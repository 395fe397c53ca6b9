//! `explain`: what invalidates a query, and what a change would invalidate.

use anyhow::bail;
use clap::Args;

use super::{
    arguments::{CatalogArgs, DatabaseArgs},
    output::{print_line, print_text},
};
use crate::{
    check::{self, Unsound},
    explain::{
        self,
        change::{self, Effect},
    },
    repository::Repository,
};

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    catalog: CatalogArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    /// The query to explain.
    #[arg(value_name = "QUERY", required_unless_present = "change")]
    query: Option<String>,
    /// Run these SQL statements, look at what they would invalidate, and roll them back.
    // It may begin with a comment.
    #[arg(
        long,
        value_name = "SQL",
        conflicts_with = "query",
        allow_hyphen_values = true
    )]
    change: Option<String>,
}

pub(super) async fn explain(args: ExplainArgs) -> anyhow::Result<()> {
    let repository = Repository::load(&args.catalog.catalog)?;
    match (&args.query, &args.change) {
        (_, Some(sql)) => change(&args, &repository, sql).await,
        (Some(name), None) => query(&args, &repository, name).await,
        (None, None) => Ok(()),
    }
}

async fn query(args: &ExplainArgs, repository: &Repository, name: &str) -> anyhow::Result<()> {
    let catalog = &repository.catalog;
    let Some(query) = catalog.queries.get(name) else {
        let known: Vec<_> = catalog.queries.keys().map(String::as_str).collect();
        bail!(
            "the catalog has no query {name:?}; it has {}",
            known.join(", ")
        );
    };
    let mut connection = args.database.connect().await?;
    let mut examination = check::examine(&mut connection, repository).await?;
    let used = examination.uses.remove(name);
    let subject = format!("query {name:?} ");
    let of_query = |finding: &check::Finding| finding.subject.starts_with(&subject);
    examination.findings.retain(of_query);
    let Some(used) = used else {
        return Err(Unsound(examination.findings).into());
    };
    print_text(explain::query(catalog, query, &used))?;
    examination.warnings.retain(of_query);
    for finding in &examination.findings {
        print_line(format_args!("\n{finding}"))?;
    }
    for warning in &examination.warnings {
        print_line(format_args!("\nwarning: {warning}"))?;
    }
    Ok(())
}

async fn change(args: &ExplainArgs, repository: &Repository, sql: &str) -> anyhow::Result<()> {
    let mut connection = args.database.connect().await?;
    let examination = check::examine(&mut connection, repository).await?;
    examination.sound()?.verify(&mut connection).await?;
    let Effect { statements, scopes } = change::attempt(&mut connection, sql).await?;
    for (word, rows) in statements {
        let rows = match rows {
            1 => "1 row".to_owned(),
            rows => format!("{rows} rows"),
        };
        print_line(format_args!("{word}: {rows}, rolled back"))?;
    }
    if scopes.is_empty() {
        print_line("it would invalidate nothing")?;
        return Ok(());
    }
    print_line("it would invalidate")?;
    for scope in scopes {
        let queries = change::invalidated(&repository.catalog, &scope);
        let queries = match queries.as_slice() {
            [] => "no query".to_owned(),
            queries => queries.join(", "),
        };
        print_line(format_args!("  {scope} → {queries}"))?;
    }
    Ok(())
}
