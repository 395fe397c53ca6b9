//! `explain`: what invalidates a query, and what a change would invalidate.

use std::io;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::{
    arguments::{CatalogArgs, DatabaseArgs},
    output::{OutputArgs, print_json, print_line, print_text},
};
use crate::{
    check::{self, Finding, Unsound},
    explain::{
        Explanation,
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
    #[command(flatten)]
    output: OutputArgs,
}

/// What invalidates a query, as a program reads it.
#[derive(Serialize)]
struct Explained<'a> {
    #[serde(flatten)]
    explanation: &'a Explanation,
    /// What `check` finds in this query.
    findings: &'a [Finding],
    warnings: &'a [Finding],
}

/// What a change would do, as a program reads it.
#[derive(Serialize)]
struct Attempted<'a> {
    statements: Vec<Ran<'a>>,
    scopes: Vec<Touched>,
}

#[derive(Serialize)]
struct Ran<'a> {
    /// The statement's first word.
    statement: &'a str,
    rows: u64,
}

#[derive(Serialize)]
struct Touched {
    scope: String,
    /// The queries that it invalidates.
    queries: Vec<String>,
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
    let of_query = |finding: &Finding| finding.subject.starts_with(&subject);
    examination.findings.retain(of_query);
    examination.warnings.retain(of_query);
    let Some(used) = used else {
        return Err(Unsound(examination.findings).into());
    };
    let explained = Explained {
        explanation: &Explanation::of(catalog, query, &used),
        findings: &examination.findings,
        warnings: &examination.warnings,
    };
    match args.output.json {
        true => print_json(&explained),
        false => Ok(print_explained(&explained)?),
    }
}

fn print_explained(explained: &Explained<'_>) -> io::Result<()> {
    print_text(explained.explanation)?;
    for finding in explained.findings {
        print_line(format_args!("\n{finding}"))?;
    }
    for warning in explained.warnings {
        print_line(format_args!("\nwarning: {warning}"))?;
    }
    Ok(())
}

async fn change(args: &ExplainArgs, repository: &Repository, sql: &str) -> anyhow::Result<()> {
    let mut connection = args.database.connect().await?;
    let examination = check::examine(&mut connection, repository).await?;
    examination.sound()?.verify(&mut connection).await?;
    let Effect { statements, scopes } = change::attempt(&mut connection, sql).await?;
    let ran = statements.iter().map(|(statement, rows)| Ran {
        statement,
        rows: *rows,
    });
    let touched = scopes.iter().map(|scope| Touched {
        scope: scope.to_string(),
        queries: change::invalidated(&repository.catalog, scope),
    });
    let attempted = Attempted {
        statements: ran.collect(),
        scopes: touched.collect(),
    };
    match args.output.json {
        true => print_json(&attempted),
        false => Ok(print_attempted(&attempted)?),
    }
}

fn print_attempted(attempted: &Attempted<'_>) -> io::Result<()> {
    for Ran { statement, rows } in &attempted.statements {
        let rows = match rows {
            1 => "1 row".to_owned(),
            rows => format!("{rows} rows"),
        };
        print_line(format_args!("{statement}: {rows}, rolled back"))?;
    }
    if attempted.scopes.is_empty() {
        return print_line("it would invalidate nothing");
    }
    print_line("it would invalidate")?;
    for Touched { scope, queries } in &attempted.scopes {
        let queries = match queries.as_slice() {
            [] => "no query".to_owned(),
            queries => queries.join(", "),
        };
        print_line(format_args!("  {scope} → {queries}"))?;
    }
    Ok(())
}
