//! The command line: what `tidemark-origin` can be told, by flags or environment.
//!
//! One file a command, or pair of commands; each is arguments and a short way into the library.

mod arguments;
mod audit;
mod check;
mod explain;
mod install;
mod manager;
mod purge;
mod serve;
mod warm;

use clap::{Parser, Subcommand};

/// Tidemark's origin: runs the catalog's SQL, captures changes in PostgreSQL, and relays
/// invalidations to Redis.
#[derive(Debug, Parser)]
#[command(name = "tidemark-origin", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve queries and commands over HTTP, and relay invalidations.
    Serve(serve::ServeArgs),
    /// Relay invalidations, and nothing else.
    Relay(serve::RelayArgs),
    /// Apply a relay's events to a Redis that the relay can't reach: another region's.
    Manager(manager::ManagerArgs),
    /// Invalidate whatever depends on a table, a member or a family, in every region.
    Purge(purge::PurgeArgs),
    /// Install the outbox and the triggers; safe to run again.
    Install(install::InstallArgs),
    /// Remove the outbox and the triggers.
    Uninstall(install::UninstallArgs),
    /// Check the catalog, and that every statement and table in it fits the database.
    Check(check::CheckArgs),
    /// Hold cached answers against the database; fails if one is wrong.
    Audit(audit::AuditArgs),
    /// Fill the cache before anybody reads: what was read most, a list, or all that queries enumerate.
    Warm(warm::WarmArgs),
    /// Tell what invalidates a query, or what a change would invalidate.
    Explain(explain::ExplainArgs),
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// It can't be done; the message says why and, where possible, what to do.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(args) => serve::serve(args).await,
            Command::Relay(args) => serve::relay(args).await,
            Command::Manager(args) => manager::manager(args).await,
            Command::Purge(args) => purge::purge(args).await,
            Command::Install(args) => install::install(args).await,
            Command::Uninstall(args) => install::uninstall(args).await,
            Command::Check(args) => check::check(args).await,
            Command::Audit(args) => audit::audit(args).await,
            Command::Warm(args) => warm::warm(args).await,
            Command::Explain(args) => explain::explain(args).await,
        }
    }
}

/// An error with its causes in one line, without those that its text repeats already.
pub fn report(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
