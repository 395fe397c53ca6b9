//! `check`: does the catalog fit the database?

use anyhow::bail;
use clap::Args;

use super::arguments::{CatalogArgs, DatabaseArgs};
use crate::{check, repository::Repository};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    catalog: CatalogArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn check(args: CheckArgs) -> anyhow::Result<()> {
    let repository = Repository::load(&args.catalog.catalog)?;
    let mut connection = args.database.connect().await?;
    let findings = check::findings(&mut connection, &repository).await?;
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    println!(
        "all is well: {} queries, {} commands",
        repository.catalog.queries.len(),
        repository.catalog.commands.len()
    );
    Ok(())
}
