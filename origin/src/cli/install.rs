//! `install` and `uninstall`: the triggers in the database.

use clap::Args;

use super::{
    arguments::{CatalogArgs, DatabaseArgs},
    output::{print_line, print_text},
};
use crate::{
    capture::{self, Installed},
    check,
    repository::Repository,
};

#[derive(Debug, Args)]
pub(super) struct InstallArgs {
    #[command(flatten)]
    catalog: CatalogArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Print the SQL instead of running it.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct UninstallArgs {
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn install(args: InstallArgs) -> anyhow::Result<()> {
    let repository = Repository::load(&args.catalog.catalog)?;
    let mut connection = args.database.connect().await?;
    let examination = check::examine(&mut connection, &repository).await?;
    examination.log_warnings();
    let installation = examination.sound()?;
    if args.dry_run {
        print_text(installation.sql())?;
        return Ok(());
    }
    let tables = installation.tables.join(", ");
    match installation.install(&mut connection).await? {
        Installed::Renewed => print_line(format_args!(
            "installed the outbox and triggers on {tables}"
        ))?,
        Installed::Unchanged => print_line(format_args!(
            "nothing to do: the triggers on {tables} are in place"
        ))?,
    }
    Ok(())
}

pub(super) async fn uninstall(args: UninstallArgs) -> anyhow::Result<()> {
    capture::uninstall(&mut args.database.connect().await?).await?;
    print_line("removed the schema tidemark and all its triggers")?;
    Ok(())
}
